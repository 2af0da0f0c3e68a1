//! A training that runs out of memory ends the run and names a smaller micro-batch. With it the run finishes.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::common::{PROGRAM, eqr_ranks, folder, has_mpi, mpirun, output, spawn, stderr, succeeded};

/// A network whose step on 64 pairs takes several hundred megabytes.
const ARGS: [&str; 24] = [
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
    "--set",
    "probe.train_pairs=64",
    "--set",
    "probe.test_pairs=32",
];

/// One arena for all threads: each further arena reserves 64 MiB of address space, and their number varies.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// KiB above the peak of small micro-batches.
const SPARE: u64 = 150 * 1024;

/// Peak address space, in KiB, of a run that encodes four pairs at a time. Measured once.
fn little() -> u64 {
    static PEAK: LazyLock<u64> = LazyLock::new(peak_of_little);
    *PEAK
}

fn peak_of_little() -> u64 {
    let folder = folder();
    let args = [&ARGS[..], &["--out", "little", "--micro-batch", "4"]].concat();
    let mut command = Command::new(PROGRAM);
    command
        .env(ARENAS.0, ARENAS.1)
        .args(args)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = spawn(&mut command);
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

/// The run with at most `kib` of address space.
fn within(folder: &Path, kib: u64, args: &[&str]) -> Output {
    let script = format!("ulimit -v {kib} && exec {PROGRAM} \"$@\"");
    output(
        Command::new("sh").env(ARENAS.0, ARENAS.1).args(["-c", &script, "sh"]).args(args).current_dir(folder),
    )
}

/// The micro-batch that a failed run suggests, and how many pairs the run encoded at a time.
fn advice(output: &Output) -> (String, u64) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("error: out of memory: DefaultCPUAllocator: can't allocate memory"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let between =
        |from: &str, to: &str| text.split_once(from)?.1.split_once(to).map(|(inner, _)| inner.to_owned());
    let fewer = between("try --micro-batch ", ",").expect("a micro-batch to try");
    let at_a_time = between("hint: ", " pairs were encoded").expect("what was tried").parse().unwrap();
    (fewer, at_a_time)
}

#[test]
fn a_run_without_enough_memory_finishes_with_the_micro_batch_that_it_names() {
    let folder = folder();
    let here = folder.path();
    // enough for a few more pairs than four, not for 64
    let limit = little() + SPARE;
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
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let args = [&ARGS[..], &["--out", "run", "--set", "train.batch=128"]].concat();
    let limit = little() + SPARE;
    // only the second rank is limited; each has half of the batch
    let script = format!("[ $OMPI_COMM_WORLD_RANK = 0 ] || ulimit -v {limit}; exec {PROGRAM} \"$@\"");
    let output =
        output(mpirun(here, 2).env(ARENAS.0, ARENAS.1).args(["sh", "-c", &script, "sh"]).args(&args));
    assert_eq!(advice(&output), ("32".to_owned(), 64));
    assert!(stderr(&output).contains("rank 1 of 2: error: out of memory"), "{}", stderr(&output));
    succeeded(&eqr_ranks(here, 2, &args));
}
