//! `eqr-bench`: finds libtorch, picks an engine, and replaces itself with that engine.
//!
//! A program that is linked to libtorch, HDF5 and MPI dies in the dynamic loader, before its `main`, if one
//! of them is missing. The launcher is linked to none of them, so it can say what is missing and what to do.
//! It starts the engine with `exec`. The process stays the same, so `mpirun`, signals and exit codes work as
//! if the engine had been started directly. A request to stop is held back until the engine can answer it.
//!
//! The search for libtorch follows a documented order. An MPI launch (`mpi_launch`) uses the MPI engine.
//! Every error is one message on stderr and exit code 2.

mod engine;
mod help;
mod helper;
mod libtorch;
mod mpi_launch;
mod problem;
#[path = "../../cluster/signal_mask.rs"]
mod signal_mask;

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use help::Help;
use libtorch::Libtorch;
use problem::Problem;

/// Whether HDF5 locks the files that it opens; read once, when the library is loaded.
const HDF5_LOCKING: &str = "HDF5_USE_FILE_LOCKING";

/// Options of glibc's allocator; read once, when a process starts.
const GLIBC_TUNABLES: &str = "GLIBC_TUNABLES";

/// The memory of cuBLAS's products.
const CUBLAS_WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";

/// How libtorch's threads wait for one another; read once, when OpenMP is loaded.
const OMP_WAIT_POLICY: &str = "OMP_WAIT_POLICY";

fn main() -> ExitCode {
    // version and help need no library, and they are the first that a user and a bug report ask for
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    if let [only] = &args[..]
        && (only == "--version" || only == "-V")
    {
        println!("eqr-bench {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(help) = Help::asked_for(&args) {
        if mpi_launch::is_first_rank_of_its_node() {
            help.print();
        }
        return help.exit_code();
    }
    signal_mask::hold();
    let Err(problem) = start();
    signal_mask::release();
    if mpi_launch::is_first_rank_of_its_node() {
        eprintln!("error: {}{}\nhint: {}", mpi_launch::node_prefix(), problem.error, problem.hint);
    }
    ExitCode::from(2)
}

/// Replaces this process with the engine. Returns only on failure, with the reason.
fn start() -> Result<Infallible, Problem> {
    let launcher = env::current_exe().map_err(|error| {
        Problem::new(format!("cannot find the path of eqr-bench: {error}"), "is /proc mounted?")
    })?;
    env::current_dir().map_err(|error| {
        Problem::new(format!("the current folder cannot be found: {error}"), "change to a folder that exists")
    })?;
    let libtorch = Libtorch::find(&launcher)?;
    let engine = engine::find(&launcher)?;
    let loader_path = libtorch.loader_path(&launcher)?;
    let command = || {
        let mut command = Command::new(&engine);
        command.env("LD_LIBRARY_PATH", &loader_path).env("EQR_LIBTORCH", &libtorch.root);
        command.env("EQR_LIBTORCH_VERSION", &libtorch.version);
        if env::var_os(HDF5_LOCKING).is_none() {
            // Lustre and GPFS are often mounted without file locks; packs need none, as they never change in
            // place
            command.env(HDF5_LOCKING, "BEST_EFFORT");
        }
        if env::var_os(GLIBC_TUNABLES).is_none() {
            // with small pages, the tensors of a step need more TLB entries than the processor has
            command.env(GLIBC_TUNABLES, "glibc.malloc.hugetlb=1");
        }
        if env::var_os(OMP_WAIT_POLICY).is_none() {
            // spinning threads take the core from the thread that they wait for where other work runs, too: a
            // training step of two threads on two busy cores was 30 times as slow
            command.env(OMP_WAIT_POLICY, "passive");
        }
        if env::args_os().any(|arg| arg == "--deterministic") && env::var_os(CUBLAS_WORKSPACE).is_none() {
            // with others, products of several streams do not repeat
            command.env(CUBLAS_WORKSPACE, ":4096:8");
        }
        command
    };
    engine::check_libraries(command(), &engine, &libtorch.root)?;
    let failure = command().args(env::args_os().skip(1)).exec();
    Err(engine::cannot_start(&engine, &failure))
}
