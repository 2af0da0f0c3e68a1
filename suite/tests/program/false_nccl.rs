//! Ranks on false GPUs, whose sums are made by the false NCCL of
//! [false_nccl.cpp](../false_gpu/false_nccl.cpp), which is built here. It sums late, so the numbers are those
//! of the CPU only if every stream waits where it must.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{
    PROGRAM, eqr_ranks_command, finished, folder, has_mpi, is_refusal, mpirun, output, run_args, same_losses,
    spawn, stderr, succeeded, takes_long,
};
use crate::false_gpu::{KERNELS, LIBTORCH};
use crate::processes::{ended, send};

/// A gradient of 9 MiB, so that its sums overlap with the backward pass.
const LARGE: [&str; 9] = [
    "--methods",
    "Ours",
    "--pretrain-only",
    "--set",
    "model.dim=192",
    "--set",
    "model.depth=5",
    "--set",
    "train.epochs=1",
];

/// The only training of [`large`].
pub const TRAINING: &str = "pretrain-ours-seed0";

/// The folder of `libnccl.so.2`.
static NCCL: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("false-nccl");
    std::fs::create_dir_all(&folder).unwrap();
    let compiler = output(
        Command::new("g++")
            .args(["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/false_gpu/false_nccl.cpp"))
            .arg("-o")
            .arg(folder.join("libnccl.so.2")),
    );
    succeeded(&compiler);
    folder
});

/// Two false GPUs without kernels, and no NCCL.
pub fn on_gpus(command: &mut Command) -> &mut Command {
    command.env("LIBTORCH", &*LIBTORCH).env("EQR_FALSE_GPUS", "2").env("EQR_FALSE_GPU_OPEN", "1");
    command.env(KERNELS.0, "0")
}

/// Where the loader finds the false NCCL.
pub fn with_nccl(command: &mut Command) -> &mut Command {
    command.env("LD_LIBRARY_PATH", &*NCCL)
}

/// Two ranks on two false GPUs, with the false NCCL.
fn ranks_with_nccl(folder: &Path, args: &[&str]) -> Command {
    let mut command = eqr_ranks_command(folder, 2, args);
    with_nccl(on_gpus(&mut command));
    command
}

/// What the manifest says of how the ranks talk to each other.
pub fn transport(run: &Path) -> String {
    let manifest: Value = serde_json::from_slice(&std::fs::read(run.join("manifest.json")).unwrap()).unwrap();
    manifest["provenance"]["versions"]["transport"].as_str().unwrap().to_owned()
}

/// Three steps of the network with the large gradient.
pub fn large(name: &str) -> Vec<&str> {
    run_args(name, &LARGE)
}

/// The run of [`large`] on two ranks without GPUs.
fn run_on_the_cpu() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| finished(2, &large("large-2")));
    &RUN
}

/// Two runs with a planted mistake show that a missing wait does not go unnoticed.
#[test]
fn sums_over_nccl_have_the_losses_of_the_cpu_and_a_missing_wait_is_noticed() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let cpu = run_on_the_cpu();
    assert!(!transport(cpu).contains("NCCL"), "{}", transport(cpu));
    let over_nccl = output(&mut ranks_with_nccl(here, &large("nccl")));
    succeeded(&over_nccl);
    assert!(!stderr(&over_nccl).contains("NCCL"), "nothing to note: {}", stderr(&over_nccl));
    let nccl = here.join("nccl");
    assert!(transport(&nccl).starts_with("NCCL 2.27.3; "), "{}", transport(&nccl));
    same_losses(cpu, &nccl, TRAINING, 3);

    // what comes after the sums does not wait for them
    let early = output(ranks_with_nccl(here, &large("early")).env("EQR_FALSE_GPU_NO_WAITS", "default"));
    assert!(
        !early.status.success() && stderr(&early).contains("race on the false GPU"),
        "{}",
        stderr(&early)
    );

    // the sums do not wait for the gradients
    let refused = output(ranks_with_nccl(here, &large("unready")).env("EQR_FALSE_GPU_NO_WAITS", "others"));
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("ncclAllReduce: invalid usage"), "{}", stderr(&refused));
}

/// The host, too, keeps away from the memory of the devices.
#[test]
fn nccl_alone_touches_the_memory_of_the_devices() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let args = run_args("run", &["--methods", "Ours", "--pretrain-only", "--set", "train.epochs=1"]);
    succeeded(&output(ranks_with_nccl(folder.path(), &args).env("EQR_FALSE_GPU_OPEN", "0")));
    assert!(transport(&folder.path().join("run")).starts_with("NCCL "));
}

#[test]
fn without_nccl_the_ranks_say_so_once_and_sum_over_mpi() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let off = output(ranks_with_nccl(here, &large("off")).env("EQR_NCCL", "0"));
    let missing = output(on_gpus(&mut eqr_ranks_command(here, 2, &large("missing"))));
    for (run, name, says) in [
        (off, "off", "note: EQR_NCCL=0: gradients are summed over MPI"),
        (missing, "missing", "note: NCCL is not found: gradients are summed over MPI"),
    ] {
        succeeded(&run);
        let text = stderr(&run);
        assert!(text.matches("gradients are summed").count() == 1 && text.contains(says), "{text}");
        assert!(text.contains("hint: "), "{text}");
        assert!(!transport(&here.join(name)).contains("NCCL"), "{name}");
        same_losses(run_on_the_cpu(), &here.join(name), TRAINING, 3);
    }
}

#[test]
fn an_nccl_that_is_named_and_does_not_load_is_refused() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let args = large("run");
    let refused = output(ranks_with_nccl(folder.path(), &args).env("EQR_NCCL", "/nowhere/libnccl.so.2"));
    is_refusal(&refused, &["rank 0: EQR_NCCL=/nowhere/libnccl.so.2", "hint: the path of libnccl.so.2"]);
}

/// As with `CUDA_VISIBLE_DEVICES=0 mpirun -n 2`.
#[test]
fn two_ranks_on_one_gpu_are_refused() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let mut command = ranks_with_nccl(folder.path(), &large("run"));
    let refused = output(command.env("EQR_FALSE_GPUS", "1").env("CUDA_VISIBLE_DEVICES", "0"));
    is_refusal(&refused, &["ranks 0 and 1 on ", "have the same GPU", "hint: start one rank per GPU"]);
}

/// Not every launcher tells a rank its place on the node; MPI knows it.
#[test]
fn ranks_find_their_gpus_without_the_variables_of_a_launcher() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let args = run_args("run", &["--methods", "Ours", "--pretrain-only", "--set", "train.epochs=1"]);
    let mut command = mpirun(folder.path(), 2);
    command.args(["env", "-u", "OMPI_COMM_WORLD_LOCAL_RANK", "-u", "OMPI_COMM_WORLD_LOCAL_SIZE"]);
    succeeded(&output(with_nccl(on_gpus(command.arg(PROGRAM).args(args)))));
    assert!(transport(&folder.path().join("run")).starts_with("NCCL "));
}

/// Runs until rank 1 has the fault. Every rank must end by itself, with one message.
fn ends_with(fault: (&str, &str), patience: &str) -> String {
    let folder = folder();
    let args = run_args("run", &["--methods", "Ours", "--pretrain-only", "--set", "train.batch=5"]);
    let mut command = ranks_with_nccl(folder.path(), &args);
    command.envs([fault, ("EQR_WATCHDOG_SECONDS", patience)]);
    let messages = folder.path().join("stderr");
    let mut job = spawn(command.stdout(Stdio::null()).stderr(File::create(&messages).unwrap()));
    let code = ended(&mut job, Instant::now() + Duration::from_secs(60));
    if code.is_none() {
        // mpirun ends the ranks
        send(job.id(), libc::SIGTERM);
        job.wait().unwrap();
    }
    let text = std::fs::read_to_string(messages).unwrap();
    assert_eq!(code, Some(3), "{text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    text
}

/// In the middle of an epoch.
const IN_A_SUM: &str = "1:30";

const CONTINUES: &str = "hint: the same command continues from the last checkpoint";

#[test]
fn a_rank_that_does_not_come_to_a_sum_ends_the_job() {
    if !has_mpi() {
        return;
    }
    let text = ends_with(("EQR_FALSE_NCCL_HANG", IN_A_SUM), "4");
    assert!(text.contains("error: another rank has not answered for "), "{text}");
    assert!(text.contains("false NCCL: rank 0 aborted") && text.contains(CONTINUES), "{text}");
}

/// It is not the patience of ten minutes that ends it.
#[test]
fn a_rank_whose_nccl_fails_ends_the_job_at_once() {
    if !has_mpi() {
        return;
    }
    let text = ends_with(("EQR_FALSE_NCCL_ERROR", IN_A_SUM), "600");
    assert!(text.contains("error: NCCL of rank 1: unhandled system error"), "{text}");
    assert!(text.contains(CONTINUES), "{text}");
}

/// The others wait for it within NCCL, which has no limit of its own.
#[test]
fn a_rank_that_does_not_join_ends_the_job() {
    if !has_mpi() {
        return;
    }
    for (fault, says) in [
        ("EQR_FALSE_NCCL_HANG", "2 ranks did not all join within 3s"),
        ("EQR_FALSE_NCCL_ERROR", "rank 1: ncclCommInitRank: unhandled system error"),
    ] {
        let text = ends_with((fault, "1:0"), "3");
        let failed = "error: NCCL does not connect the GPUs of the ranks: ";
        assert!(text.contains(&format!("{failed}{says}\nhint: ")), "{text}");
        assert!(text.contains("EQR_NCCL=0 sums over MPI instead"), "{text}");
    }
    if !takes_long() {
        return;
    }
    // it has joined, and does not come to the sum by which the ranks try the communicator
    let text = ends_with(("EQR_FALSE_NCCL_HANG", "1:1"), "3");
    assert!(text.contains("2 ranks did not all join within 3s"), "{text}");
    assert!(text.contains("false NCCL: rank 0 aborted"), "{text}");
}
