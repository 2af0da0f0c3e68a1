//! Memory that runs out in a training ends the run with what to try, and trying it finishes the run.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{PROGRAM, folder, mpirun, stderr, succeeded};

/// A network whose step on 64 pairs takes several hundred megabytes.
const ARGS: [&str; 20] = [
    "run",
    "tiny.toml",
    "--threads",
    "1",
    "--precision",
    "fp32",
    "--methods",
    "VICReg",
    "--set",
    "train.epochs=1",
    "--set",
    "train.batch=64",
    "--set",
    "model.patch=2",
    "--set",
    "model.dim=128",
    "--set",
    "model.depth=6",
    "--set",
    "data.spec.objects_per_class=12",
];

/// One arena for all threads: each more of them claims 64 MiB of addresses, and how many there are is chance.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// KiB beyond what little takes.
const SPARE: u64 = 150 * 1024;

/// KiB of address space that the run takes at its peak where it encodes four pairs at a time.
fn little(folder: &Path) -> u64 {
    let args = [&ARGS[..], &["--out", "little", "--micro-batch", "4"]].concat();
    let mut command = Command::new(PROGRAM);
    command.env(ARENAS.0, ARENAS.1);
    let mut child = command.args(args).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        peak = now.max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The run in `kib` of address space.
fn within(folder: &Path, kib: u64, args: &[&str]) -> Output {
    let script = format!("ulimit -v {kib} && exec {PROGRAM} \"$@\"");
    let mut command = Command::new("sh");
    command.env(ARENAS.0, ARENAS.1);
    command.args(["-c", &script, "sh"]).args(args).current_dir(folder).output().unwrap()
}

/// The micro-batch that a failed run says to try, and how many pairs it encoded.
fn advice(output: &Output) -> (String, u64) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("error: out of memory: DefaultCPUAllocator: can't allocate memory"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let between = |from: &str, to: &str| text.split_once(from)?.1.split_once(to).map(|(inner, _)| inner.to_owned());
    let fewer = between("try --micro-batch ", ",").expect("a micro-batch to try");
    let at_a_time = between("hint: ", " pairs were encoded").expect("what was tried").parse().unwrap();
    (fewer, at_a_time)
}

#[test]
fn a_run_without_enough_memory_finishes_with_the_micro_batch_that_it_names() {
    let folder = folder();
    let here = folder.path();
    // a few more pairs than four, not 64
    let limit = little(here) + SPARE;
    let whole = [&ARGS[..], &["--out", "run"]].concat();
    let mut output = within(here, limit, &whole);
    let mut tried = 64;
    while !output.status.success() {
        let (fewer, at_a_time) = advice(&output);
        assert_eq!((at_a_time, fewer.parse::<u64>().unwrap()), (tried, tried / 2));
        tried /= 2;
        output = within(here, limit, &[&whole[..], &["--micro-batch", &fewer]].concat());
    }
    assert!(tried < 64, "memory ran out at first");
    assert!(here.join("run/cells/probe-vicreg-seed0.json").exists());
}

#[test]
fn a_rank_without_enough_memory_ends_the_others_and_the_run_goes_on() {
    let folder = folder();
    let here = folder.path();
    let args = [&ARGS[..], &["--out", "run", "--set", "train.batch=128"]].concat();
    let Some(command) = mpirun(here, 2, &[]) else { return };
    let launcher: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let limit = little(here) + SPARE;
    // the second rank alone; both hold half of the batch
    let script = format!("[ $OMPI_COMM_WORLD_RANK = 0 ] || ulimit -v {limit}; exec {PROGRAM} \"$@\"");
    let mut command = Command::new("mpirun");
    command.env(ARENAS.0, ARENAS.1);
    command.args(&launcher[..launcher.len() - 1]).args(["sh", "-c", &script, "sh"]).args(&args).current_dir(here);
    let output = command.output().unwrap();
    assert_eq!(advice(&output), ("32".to_owned(), 64));
    assert!(stderr(&output).contains("rank 1 of 2: error: out of memory"), "{}", stderr(&output));
    succeeded(&mpirun(here, 2, &args).expect("looked for before").output().unwrap());
}
