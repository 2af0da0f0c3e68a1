//! `eqr-bench`: finds libtorch, picks the engine beside it, and becomes that engine.
//!
//! A program that is linked to libtorch, HDF5 and MPI dies in the dynamic loader, before its `main`, when one of them is
//! missing. The launcher is linked to none of them, so it can say what is missing and what to do. It hands over by
//! `exec`: same process, so `mpirun`, signals and exit codes reach the engine as if it had been started directly.
//!
//! libtorch is looked for in this order: `$LIBTORCH`; a `.libtorch` folder beside or above this executable (what `make
//! setup` fills); the `torch` package of `python3`. The first one that is there must be usable: a wrong version is an
//! error, never passed over. Every error is one message on stderr and exit code 2.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

/// The libtorch series that the engine is compiled against.
const SERIES: &str = "2.11";

/// What stopped the start, and what the user can do about it.
struct Problem {
    error: String,
    hint: String,
}

impl Problem {
    fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem { error: error.into(), hint: hint.into() }
    }
}

fn main() -> ExitCode {
    let Err(problem) = start();
    // The version is known without any library, and it is the first thing that a bug report asks for.
    let mut args = env::args_os().skip(1);
    if let (Some(first), None) = (args.next(), args.next())
        && (first == "--version" || first == "-V")
    {
        println!("eqr-bench {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if speaks_for_its_node() {
        eprintln!("error: {}{}\nhint: {}", node_prefix(), problem.error, problem.hint);
    }
    ExitCode::from(2)
}

/// Whether HDF5 locks the files that it opens; read once, when the library is loaded.
const HDF5_LOCKING: &str = "HDF5_USE_FILE_LOCKING";

/// Options of glibc's allocator; read once, when a process starts.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Becomes the engine; comes back only with the reason why it could not.
fn start() -> Result<Infallible, Problem> {
    let launcher = env::current_exe()
        .map_err(|e| Problem::new(format!("cannot find out where eqr-bench lies: {e}"), "is /proc mounted?"))?;
    let libtorch = Libtorch::find(&launcher)?;
    let engine = find_engine(&launcher)?;
    let search_path = libtorch.loader_path(&launcher)?;

    let command = || {
        let mut command = Command::new(&engine);
        command.env("LD_LIBRARY_PATH", &search_path).env("EQR_LIBTORCH", &libtorch.root);
        command.env("EQR_LIBTORCH_VERSION", &libtorch.version);
        if env::var_os(HDF5_LOCKING).is_none() {
            // Lustre and GPFS are often mounted without locks; packs are never written in place and need none
            command.env(HDF5_LOCKING, "BEST_EFFORT");
        }
        if env::var_os(TUNABLES).is_none() {
            // huge pages for the tensors of a step: of small ones there are more than the processor can keep in mind
            command.env(TUNABLES, "glibc.malloc.hugetlb=1");
        }
        command
    };
    check_loads(command(), &engine, &libtorch)?;
    let failure = command().args(env::args_os().skip(1)).exec();
    Err(cannot_start(&engine, &failure))
}

fn cannot_start(engine: &Path, failure: &std::io::Error) -> Problem {
    Problem::new(format!("cannot start {}: {failure}", engine.display()), "build it again: `make build`")
}

// ---- libtorch ------------------------------------------------------------------------------------------------------

/// A libtorch of the right version.
struct Libtorch {
    /// Where it really lies: `.libtorch` is often a folder of links to a python `torch`, and only there stand the CUDA
    /// libraries that the engine loads when it finds them.
    root: PathBuf,
    version: String,
    /// Folders for the loader, best first.
    lib_dirs: Vec<PathBuf>,
}

impl Libtorch {
    fn find(launcher: &Path) -> Result<Self, Problem> {
        if let Some(given) = env::var_os("LIBTORCH").filter(|value| !value.is_empty()) {
            let hint = format!(
                "set LIBTORCH to a libtorch {SERIES} (the folder that holds lib/), or unset it to use what `make setup` made"
            );
            return Self::open(Path::new(&given), "$LIBTORCH").map_err(|error| Problem::new(error, hint));
        }
        if let Some(facade) = launcher.ancestors().skip(1).map(|dir| dir.join(".libtorch")).find(|dir| dir.is_dir()) {
            return Self::open(&facade, "libtorch")
                .map_err(|error| Problem::new(error, "run `make setup` in the eqr-bench checkout again"));
        }
        let found_nothing = |python: String| {
            Problem::new(
                format!(
                    "libtorch {SERIES} not found: $LIBTORCH is not set, there is no .libtorch folder beside or above {}, and {python}",
                    launcher.display()
                ),
                format!("run `make setup` in the eqr-bench checkout, or set LIBTORCH to a libtorch {SERIES} folder"),
            )
        };
        let package = python_torch().ok_or_else(|| found_nothing("python3 has no torch".to_owned()))?;
        Self::open(&package, "python3's torch").map_err(found_nothing)
    }

    /// Takes `given` if it is a whole libtorch of the right version; `name` is what messages call it.
    fn open(given: &Path, name: &str) -> Result<Self, String> {
        let shown = given.display();
        let lib = fs::canonicalize(given.join("lib")).map_err(|e| format!("{name} at {shown}: no lib folder ({e})"))?;
        for file in ["libtorch.so", "libc10.so"] {
            if !lib.join(file).exists() {
                return Err(format!("{name} at {shown} is not a whole libtorch: lib/{file} is missing"));
            }
        }
        let real_lib = fs::canonicalize(lib.join("libtorch.so"))
            .ok()
            .and_then(|file| file.parent().map(Path::to_path_buf))
            .filter(|dir| dir.join("libc10.so").exists())
            .unwrap_or_else(|| lib.clone());
        let root = real_lib.parent().unwrap_or(given).to_path_buf();

        // The real place first: a python package can have been upgraded since the links to it were made.
        match version_of(&root).or_else(|| version_of(given)) {
            None => {
                Err(format!("{name} at {shown} does not say its version (no build-version, version.py or version)"))
            }
            Some(version) if version == SERIES || version.starts_with(&format!("{SERIES}.")) => {
                let mut lib_dirs = vec![real_lib];
                if lib_dirs[0] != lib {
                    lib_dirs.push(lib);
                }
                Ok(Libtorch { root, version, lib_dirs })
            }
            Some(version) => Err(format!("{name} at {shown} is version {version}; eqr-bench needs {SERIES}")),
        }
    }

    /// The value of `LD_LIBRARY_PATH` that puts this libtorch before everything else, then what a bundle brings along in `lib/` beside the
    /// launcher.
    fn loader_path(&self, launcher: &Path) -> Result<OsString, Problem> {
        let bundled = launcher.parent().map(|folder| folder.join("lib")).filter(|lib| lib.is_dir());
        let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let inherited = env::split_paths(&inherited).filter(|dir| !dir.as_os_str().is_empty());
        env::join_paths(self.lib_dirs.iter().cloned().chain(bundled).chain(inherited)).map_err(|_| {
            Problem::new(
                format!("the path {} holds a colon, which the loader cannot use", self.root.display()),
                "move libtorch, or the checkout, to a path without a colon",
            )
        })
    }
}

/// Version of the libtorch in `root`: `build-version` of the official archives, `version.py` of the python package,
/// `version` of what `make setup` makes.
fn version_of(root: &Path) -> Option<String> {
    let plain = |name: &str| fs::read_to_string(root.join(name)).ok().map(|text| text.trim().to_owned());
    let python = || {
        let text = fs::read_to_string(root.join("version.py")).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix("__version__"))?;
        Some(value.trim_matches(|c: char| c.is_whitespace() || "='\"".contains(c)).to_owned())
    };
    plain("build-version").or_else(python).or_else(|| plain("version")).filter(|version| !version.is_empty())
}

/// Folder of `python3`'s torch package. Located, not imported: an import takes seconds and can fail for other reasons.
fn python_torch() -> Option<PathBuf> {
    const LOCATE: &str = "import importlib.util, sys\n\
        sys.path[:] = [entry for entry in sys.path if entry]\n\
        spec = importlib.util.find_spec('torch')\n\
        print(spec.submodule_search_locations[0] if spec and spec.origin else '')";
    let output = Command::new("python3").args(["-c", LOCATE]).stdin(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| output.status.success() && !path.as_os_str().is_empty())
}

// ---- engine --------------------------------------------------------------------------------------------------------

/// True when this process is one rank of an MPI launch.
fn in_mpi_launch() -> bool {
    const SET_BY_LAUNCHERS: [&str; 5] =
        ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
    SET_BY_LAUNCHERS.iter().any(|name| env::var_os(name).is_some())
        || number("SLURM_STEP_NUM_TASKS").is_some_and(|tasks| tasks > 1)
}

/// The engine for this kind of start, beside the launcher.
fn find_engine(launcher: &Path) -> Result<PathBuf, Problem> {
    let (name, hint) = if in_mpi_launch() {
        (
            "eqr-bench-mpi",
            "this is an MPI launch, and the build has no MPI engine: install MPI (Debian, Ubuntu: libopenmpi-dev openmpi-bin \
             libclang-dev) and run `make build`, or start eqr-bench without mpirun",
        )
    } else {
        ("eqr-bench-solo", "build it: `make build`, or `cargo build --release` (which builds all binaries)")
    };
    let engine = launcher.with_file_name(name);
    if engine.is_file() {
        return Ok(engine);
    }
    Err(Problem::new(format!("the engine {} is not there", engine.display()), hint))
}

/// Asks the dynamic loader to list what the engine needs, without running it, and reports what it does not find.
fn check_loads(mut command: Command, engine: &Path, libtorch: &Libtorch) -> Result<(), Problem> {
    let listing = command
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|failure| cannot_start(engine, &failure))?;
    let text = [listing.stdout, listing.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut missing: Vec<&str> = text.lines().map(str::trim).filter(|line| line.contains("not found")).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    // "libmpi.so.40 => not found" is a library; anything else is a complaint about a version, shown as it is.
    let libraries: Vec<&str> = missing.iter().map(|line| line.strip_suffix(" => not found").unwrap_or(line)).collect();
    let needs = |start: &str| libraries.iter().any(|library| library.starts_with(start));
    let hint = if needs("libmpi") || needs("libopen-") {
        "install the MPI that it was built with (Debian, Ubuntu: openmpi-bin; a cluster: load its MPI module), or build again here"
            .to_owned()
    } else if needs("libhdf5") {
        "install HDF5 (Debian, Ubuntu: libhdf5-dev; a cluster: load its HDF5 module), or build again here".to_owned()
    } else if needs("libopenblas") {
        "install OpenBLAS (Debian, Ubuntu: libopenblas-dev; a cluster: load its OpenBLAS module), or build again here"
            .to_owned()
    } else if needs("libcu") || needs("libtorch") || needs("libc10") || needs("libnv") {
        format!(
            "the libtorch in {} is not whole: set LIBTORCH to another one, or run `make setup`",
            libtorch.root.display()
        )
    } else {
        "install it, or build again on this machine: `make build`".to_owned()
    };
    Err(Problem::new(format!("{} cannot be loaded, not found: {}", engine.display(), libraries.join(", ")), hint))
}

// ---- who speaks ----------------------------------------------------------------------------------------------------

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.trim().parse().ok()
}

/// One message a node: what is missing can be missing on one node alone, and then its first rank must say so. A launcher
/// that numbers no local ranks leaves the word to rank 0.
fn speaks_for_its_node() -> bool {
    const RANKS: [&str; 8] = [
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "MPI_LOCALRANKID",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_RANK",
        "SLURM_LOCALID",
        "PMIX_RANK",
        "PMI_RANK",
        "SLURM_PROCID",
    ];
    RANKS.iter().find_map(|name| number(name)).is_none_or(|rank| rank == 0)
}

/// The node's name, where there can be several.
fn node_prefix() -> String {
    let host = in_mpi_launch().then(|| fs::read_to_string("/proc/sys/kernel/hostname").ok()).flatten();
    host.map(|name| format!("on {}: ", name.trim())).unwrap_or_default()
}
