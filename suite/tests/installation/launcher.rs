//! The launcher on its own: a copy in a temporary folder, with shell scripts as engines and empty files as
//! libtorch.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;

use tempfile::TempDir;

/// Prints what the launcher passed on, one fact per line.
const FAKE_ENGINE: &str = r#"#!/bin/sh
echo "engine=${0##*/}"
echo "path=$LD_LIBRARY_PATH"
echo "root=$EQR_LIBTORCH"
echo "pid=$$"
echo "tunables=$GLIBC_TUNABLES"
echo "wait=$OMP_WAIT_POLICY"
for arg in "$@"; do echo "arg=$arg"; done
while read -r name value; do case $name in SigBlk:) echo "blocked=$value" ;; esac; done </proc/$$/status
exit 75
"#;

/// An installation: `bin/eqr-bench` with the named engines beside it.
struct Install {
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Install {
    fn new(engines: &[&str]) -> Self {
        let install = Install { _turn: crate::turn(), dir: tempfile::tempdir().unwrap() };
        let bin = install.path("bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_eqr-bench"), bin.join("eqr-bench")).unwrap();
        for engine in engines {
            let file = bin.join(engine);
            fs::write(&file, FAKE_ENGINE).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        install
    }

    /// A path inside the installation, with links resolved as the launcher does.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// A folder that looks like libtorch, with its version in a file of the given name.
    fn libtorch(&self, name: &str, version_file: &str, version: &str) -> PathBuf {
        let root = self.path(name);
        fs::create_dir_all(root.join("lib")).unwrap();
        for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
            fs::write(root.join("lib").join(library), "").unwrap();
        }
        fs::write(root.join(version_file), version).unwrap();
        root
    }

    /// The launcher with an empty environment and a PATH without `python3`.
    fn launcher(&self) -> Command {
        let mut command = Command::new(self.path("bin/eqr-bench"));
        command.env_clear().env("PATH", self.path("no-programs"));
        command
    }

    /// The launcher with a command that needs an engine.
    fn doctor(&self) -> Command {
        let mut command = self.launcher();
        command.arg("doctor");
        command
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn fact(output: &Output, name: &str) -> String {
    let text = stdout(output);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("no {name}= in {text:?} / {:?}", String::from_utf8_lossy(&output.stderr)))
        .to_owned()
}

/// Asserts exit code 2 and one message of two lines, and returns it.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(stdout(output), "", "stdout is for data");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{text}");
    text
}

/// A PATH with one program in it: a `python3` that always prints `answer`. It keeps its status in a file.
fn path_with_python(install: &Install, answer: &Path) -> PathBuf {
    let programs = install.path("programs");
    fs::create_dir(&programs).unwrap();
    let python = programs.join("python3");
    let status = "while read -r line; do echo \"$line\"; done </proc/$$/status >\"$0.status\"";
    fs::write(&python, format!("#!/bin/sh\n{status}\necho '{}'\n", answer.display())).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

#[test]
fn a_folder_that_was_deleted_is_named() {
    let install = Install::new(&["eqr-bench-solo"]);
    let gone = install.path("gone");
    fs::create_dir(&gone).unwrap();
    let script = format!("cd '{0}' && rmdir '{0}' && exec \"$0\" doctor", gone.display());
    let program = install.path("bin/eqr-bench");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).arg(program).env_clear().env("PATH", "/usr/bin:/bin");
    let message = refusal(&shell.output().unwrap());
    assert!(message.contains("current folder") && message.contains("change to a folder"), "{message}");
}

#[test]
fn without_libtorch_it_says_where_it_looked() {
    let install = Install::new(&["eqr-bench-solo"]);
    let message = refusal(&install.launcher().arg("doctor").output().unwrap());
    for part in
        ["libtorch 2.11 not found", "$LIBTORCH is not set", ".libtorch", "python3 has no torch", "make setup"]
    {
        assert!(message.contains(part), "{part:?} not in {message}");
    }
}

#[test]
fn version_needs_no_library_at_all() {
    let install = Install::new(&[]);
    let output = install.launcher().arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(stdout(&output), format!("eqr-bench {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_needs_no_library_at_all() {
    let install = Install::new(&[]);
    let answer = |args: &[&str]| install.launcher().args(args).output().unwrap();
    for args in [&["--help"][..], &["run", "--help"], &["help", "data", "pack"]] {
        let output = answer(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
        assert!(stdout(&output).contains("Usage: eqr-bench"), "{args:?}");
        assert!(!output.stdout.contains(&b'\x1b'), "{args:?}: colours in a pipe");
    }
    let nothing = answer(&[]);
    assert_eq!((nothing.status.code(), stdout(&nothing).as_str()), (Some(2), ""));
    // on all ranks of an mpirun, the first alone prints
    let other = install.launcher().arg("--help").env("OMPI_COMM_WORLD_LOCAL_RANK", "1").output().unwrap();
    assert!(other.status.success() && other.stdout.is_empty());
}

#[test]
fn a_wrong_version_is_refused_and_not_passed_over() {
    let install = Install::new(&["eqr-bench-solo"]);
    // A good libtorch that comes later in the order must not hide the wrong one that the user chose.
    install.libtorch(".libtorch", "version", "2.11.0\n");
    for (name, file, text) in [
        ("archive", "build-version", "2.9.1+cpu\n"),
        (
            "package",
            "version.py",
            "from typing import Optional\n__version__ = '2.10.0+cu130'\ndebug = False\n",
        ),
        ("prefix", "build-version", "2.110.0\n"),
    ] {
        let wrong = install.libtorch(name, file, text);
        let message = refusal(&install.doctor().env("LIBTORCH", &wrong).output().unwrap());
        assert!(message.contains("$LIBTORCH") && message.contains(wrong.to_str().unwrap()), "{message}");
        assert!(message.contains("eqr-bench needs 2.11"), "{message}");
    }
}

#[test]
fn a_broken_libtorch_is_named() {
    let install = Install::new(&["eqr-bench-solo"]);
    let gone = install.path("gone");
    let message = refusal(&install.doctor().env("LIBTORCH", &gone).output().unwrap());
    assert!(message.contains(gone.to_str().unwrap()) && message.contains("no lib folder"), "{message}");

    let half = install.libtorch("half", "version", "2.11.0");
    fs::remove_file(half.join("lib/libc10.so")).unwrap();
    let message = refusal(&install.doctor().env("LIBTORCH", &half).output().unwrap());
    assert!(message.contains("lib/libc10.so is missing"), "{message}");

    let unnamed = install.libtorch("unnamed", "version", "");
    let message = refusal(&install.doctor().env("LIBTORCH", &unnamed).output().unwrap());
    assert!(message.contains("does not say its version"), "{message}");
}

#[test]
fn huge_pages_are_asked_for_unless_the_user_says_something_about_the_allocator() {
    let install = Install::new(&["eqr-bench-solo"]);
    install.libtorch(".libtorch", "version", "2.11.0");
    let output = install.doctor().output().unwrap();
    assert_eq!(fact(&output, "tunables"), "glibc.malloc.hugetlb=1");
    let output = install.doctor().env("GLIBC_TUNABLES", "glibc.malloc.check=1").output().unwrap();
    assert_eq!(fact(&output, "tunables"), "glibc.malloc.check=1");
}

#[test]
fn threads_that_wait_sleep_unless_the_user_says_otherwise() {
    let install = Install::new(&["eqr-bench-solo"]);
    install.libtorch(".libtorch", "version", "2.11.0");
    let wait = |policy: Option<&str>| {
        let mut launcher = install.doctor();
        match policy {
            Some(policy) => launcher.env("OMP_WAIT_POLICY", policy),
            None => launcher.env_remove("OMP_WAIT_POLICY"),
        };
        fact(&launcher.output().unwrap(), "wait")
    };
    assert_eq!(wait(None), "passive");
    assert_eq!(wait(Some("active")), "active");
}

#[test]
fn libtorch_is_taken_in_the_documented_order() {
    let install = Install::new(&["eqr-bench-solo"]);

    // Last: python's package.
    let package = install.libtorch("site-packages/torch", "version.py", "__version__ = '2.11.0+cu130'\n");
    let programs = path_with_python(&install, &package);
    let output = install.doctor().env("PATH", &programs).output().unwrap();
    assert_eq!(fact(&output, "root"), package.to_str().unwrap());

    // Before it: .libtorch above the executable.
    let facade = install.libtorch(".libtorch", "version", "2.11.0\n");
    let output = install.doctor().env("PATH", &programs).output().unwrap();
    assert_eq!(fact(&output, "root"), facade.to_str().unwrap());

    // First: $LIBTORCH; an empty one counts as unset.
    let chosen = install.libtorch("chosen", "build-version", "2.11.1+cpu\n");
    let output = install.doctor().env("LIBTORCH", &chosen).output().unwrap();
    assert_eq!(fact(&output, "root"), chosen.to_str().unwrap());
    let output = install.doctor().env("LIBTORCH", "").output().unwrap();
    assert_eq!(fact(&output, "root"), facade.to_str().unwrap());
}

#[test]
fn a_python_torch_of_another_version_is_named() {
    let install = Install::new(&["eqr-bench-solo"]);
    let package = install.libtorch("site-packages/torch", "version.py", "__version__ = '2.8.0'\n");
    let programs = path_with_python(&install, &package);
    let message = refusal(&install.doctor().env("PATH", &programs).output().unwrap());
    assert!(message.contains("2.8.0") && message.contains("make setup"), "{message}");
}

#[test]
fn the_loader_path_starts_with_libtorch_and_keeps_the_rest() {
    let install = Install::new(&["eqr-bench-solo"]);
    let facade = install.libtorch(".libtorch", "version", "2.11.0\n");
    let output = install.doctor().env("LD_LIBRARY_PATH", "/opt/a:/opt/b").output().unwrap();
    assert_eq!(fact(&output, "path"), format!("{}/lib:/opt/a:/opt/b", facade.display()));
    let output = install.doctor().output().unwrap();
    assert_eq!(fact(&output, "path"), format!("{}/lib", facade.display()));
}

#[test]
fn links_are_followed_to_the_libtorch_that_has_the_cuda_half() {
    let install = Install::new(&["eqr-bench-solo"]);
    let package = install.libtorch("torch", "version.py", "__version__ = '2.11.0+cu130'\n");
    let facade = install.path(".libtorch");
    fs::create_dir_all(facade.join("lib")).unwrap();
    for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
        symlink(package.join("lib").join(library), facade.join("lib").join(library)).unwrap();
    }
    fs::write(facade.join("version"), "2.11.0\n").unwrap();
    let output = install.doctor().output().unwrap();
    assert_eq!(fact(&output, "root"), package.to_str().unwrap());
    assert_eq!(fact(&output, "path"), format!("{}/lib:{}/lib", package.display(), facade.display()));

    // The package was upgraded after the links were made.
    fs::write(package.join("version.py"), "__version__ = '2.12.0'\n").unwrap();
    let message = refusal(&install.doctor().output().unwrap());
    assert!(message.contains("2.12.0") && message.contains("make setup"), "{message}");
}

#[test]
fn arguments_pass_through_untouched_and_the_process_stays_the_same() {
    let install = Install::new(&["eqr-bench-solo"]);
    install.libtorch(".libtorch", "version", "2.11.0\n");
    let args = ["run", "my suite.toml", "--set", "a=b c", "--", "--help", ""];
    let child = install.launcher().args(args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "the engine's exit code is the launcher's");
    assert_eq!(fact(&output, "pid"), pid, "exec, not a child");
    let text = stdout(&output);
    let seen: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("arg=")).collect();
    assert_eq!(seen, args);
}

/// Whether each of the signals that ask a run to stop is blocked, in a mask of /proc.
fn blocked(mask: &str) -> [bool; 3] {
    let mask = u64::from_str_radix(mask, 16).unwrap();
    [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1].map(|signal| mask >> (signal - 1) & 1 == 1)
}

#[test]
fn requests_to_stop_wait_until_the_engine_can_answer_them() {
    let install = Install::new(&["eqr-bench-solo"]);
    let package = install.libtorch("site-packages/torch", "version.py", "__version__ = '2.11.0'\n");
    let programs = path_with_python(&install, &package);
    let output = install.doctor().env("PATH", &programs).output().unwrap();
    assert_eq!(blocked(&fact(&output, "blocked")), [true; 3]);
    // a helper is ended by Ctrl-C as ever
    let status = fs::read_to_string(programs.join("python3.status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    assert_eq!(blocked(mask.trim()), [false; 3]);
}

#[test]
fn the_engine_follows_from_how_it_was_started() {
    let install = Install::new(&["eqr-bench-solo", "eqr-bench-mpi"]);
    install.libtorch(".libtorch", "version", "2.11.0\n");
    let engine = |variables: &[(&str, &str)]| {
        fact(&install.doctor().envs(variables.iter().copied()).output().unwrap(), "engine")
    };
    assert_eq!(engine(&[]), "eqr-bench-solo");
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"] {
        assert_eq!(engine(&[(variable, "1")]), "eqr-bench-mpi", "{variable}");
    }
    assert_eq!(engine(&[("SLURM_STEP_NUM_TASKS", "8")]), "eqr-bench-mpi");
    assert_eq!(engine(&[("SLURM_STEP_NUM_TASKS", "1")]), "eqr-bench-solo");
}

#[test]
fn an_mpi_launch_without_the_mpi_engine_is_refused_once() {
    let install = Install::new(&["eqr-bench-solo"]);
    install.libtorch(".libtorch", "version", "2.11.0\n");
    let rank = |variables: &[(&str, &str)]| {
        install.doctor().env("OMPI_COMM_WORLD_SIZE", "2").envs(variables.iter().copied()).output().unwrap()
    };
    let message = refusal(&rank(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_LOCAL_RANK", "0")]));
    assert!(message.contains("eqr-bench-mpi") && message.contains("without mpirun"), "{message}");

    let silent = |output: Output| {
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    };
    silent(rank(&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1")]));
    for variable in ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"] {
        silent(rank(&[(variable, "1")]));
    }
    // The first rank of a second node reports: the engine may be missing on that node only.
    refusal(&rank(&[("OMPI_COMM_WORLD_RANK", "4"), ("OMPI_COMM_WORLD_LOCAL_RANK", "0")]));
}

#[test]
fn a_missing_engine_says_how_to_build_it() {
    let install = Install::new(&[]);
    install.libtorch(".libtorch", "version", "2.11.0\n");
    let message = refusal(&install.launcher().arg("run").output().unwrap());
    assert!(message.contains("eqr-bench-solo") && message.contains("make build"), "{message}");
}

/// Compiles C source with the compiler that links Rust programs.
fn cc(dir: &Path, source: &str, args: &[&str]) {
    fs::write(dir.join("source.c"), source).unwrap();
    let status = Command::new("cc").current_dir(dir).arg("source.c").args(args).status().unwrap();
    assert!(status.success(), "cc {args:?}");
}

#[test]
fn an_engine_that_cannot_be_loaded_is_explained() {
    let install = Install::new(&[]);
    install.libtorch(".libtorch", "version", "2.11.0\n");
    let bin = install.path("bin");
    let cases = [
        ("libmpi.so.9999", "openmpi-bin"),
        ("libhdf5.so.9999", "libhdf5-dev"),
        ("libopenblas.so.9999", "libopenblas-dev"),
        ("libsomething.so.9999", "install it"),
    ];
    for (library, advice) in cases {
        // An engine whose library is removed after linking. No machine has a library of that version.
        cc(
            &bin,
            "int f(void) { return 7; }",
            &["-shared", "-fPIC", &format!("-Wl,-soname,{library}"), "-o", library],
        );
        cc(&bin, "int f(void); int main(void) { return f(); }", &[library, "-o", "eqr-bench-solo"]);
        let complete = install.doctor().env("LD_LIBRARY_PATH", &bin).output().unwrap();
        assert_eq!(complete.status.code(), Some(7), "{complete:?}");
        fs::remove_file(bin.join(library)).unwrap();
        let message = refusal(&install.doctor().env("LD_LIBRARY_PATH", &bin).output().unwrap());
        assert!(message.contains(library) && message.contains(advice), "{message}");
    }
}
