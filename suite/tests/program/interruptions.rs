//! A small run is interrupted at random moments: killed, signalled, or out of disk space. The same command
//! then ends with the numbers of an undisturbed run. The seed is fixed; `EQR_TEST_FULL=1` makes all
//! interruptions, the other calls a share.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::common::{
    PROGRAM, eqr_ranks_command, folder, has_mpi, is_installed, output, run_args, spawn, stderr, takes_long,
};
use crate::processes::{alive, children, ended, interruptible, send};
use crate::skip::skipped;

/// No call of the small run may last longer.
const STUCK: Duration = Duration::from_secs(180);

/// Arguments of a run that takes about a second.
fn args(out: &str) -> Vec<&str> {
    let smaller = [
        "data.spec.objects_per_class=3",
        "data.spec.views=2",
        "train.batch=16",
        "train.epochs=8",
        "probe.train_pairs=60",
        "probe.test_pairs=30",
        "probe.seeds=1",
    ];
    run_args(out, &smaller.map(|key| ["--set", key]).concat())
}

/// The small run in the folder `run` of `here`.
fn command(here: &Path, ranks: usize) -> Command {
    if ranks > 1 {
        return eqr_ranks_command(here, ranks, &args("run"));
    }
    let mut command = Command::new(PROGRAM);
    command.args(args("run")).current_dir(here);
    command
}

fn metrics(here: &Path) -> Vec<u8> {
    std::fs::read(here.join("run/metrics.csv")).expect("a finished run has metrics")
}

/// The numbers of a run that nothing disturbs, and its seconds.
struct Undisturbed {
    metrics: Vec<u8>,
    seconds: f64,
    bytes: u64,
}

fn undisturbed(ranks: usize) -> &'static Undisturbed {
    fn make(ranks: usize) -> Undisturbed {
        let here = folder();
        let start = Instant::now();
        let output = output(&mut command(here.path(), ranks));
        assert!(output.status.success(), "{}", stderr(&output));
        let seconds = start.elapsed().as_secs_f64();
        Undisturbed { metrics: metrics(here.path()), seconds, bytes: bytes(&here.path().join("run")) }
    }
    static ONE: LazyLock<Undisturbed> = LazyLock::new(|| make(1));
    static TWO: LazyLock<Undisturbed> = LazyLock::new(|| make(2));
    if ranks == 1 { &ONE } else { &TWO }
}

fn bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// A number in [0, 1) that depends on its key alone.
fn draw(what: &str, number: usize) -> f64 {
    let hash = blake3::hash(format!("{what} {number}").as_bytes());
    let word = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
    (word >> 11) as f64 / (1u64 << 53) as f64
}

/// How many interruptions there are: all of them, or a share.
fn count(all: usize, share: usize) -> usize {
    if std::env::var_os("EQR_TEST_FULL").is_some() { all } else { share }
}

/// The numbers of ranks with which interruptions are made here.
fn numbers_of_ranks() -> Vec<usize> {
    if has_mpi() { vec![1, 2] } else { vec![1] }
}

/// How interrupted calls ended, for the summary.
#[derive(Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn add(&mut self, outcome: impl Into<String>) {
        *self.0.entry(outcome.into()).or_default() += 1;
    }

    fn print(&self, what: &str) {
        println!("{what}: {} interruptions, 0 stuck, 0 different; they ended so: {:?}", self.total(), self.0);
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// Runs the same command to its end, and compares.
fn ends_undisturbed(here: &Path, ranks: usize, place: &str) {
    let mut child = spawn(command(here, ranks).stdout(Stdio::null()).stderr(log(here)));
    let code = ended(&mut child, Instant::now() + STUCK);
    if code.is_none() {
        let _ = child.kill();
    }
    assert_eq!(code, Some(0), "{place}: {}", read_log(here));
    assert!(metrics(here) == undisturbed(ranks).metrics, "{place}: other numbers");
    let names = std::fs::read_dir(here.join("run")).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names
        .filter(|name| [".eqr-", "running"].iter().any(|start| name.to_string_lossy().starts_with(start)))
        .collect();
    assert!(left.is_empty(), "{place}: {left:?} is left");
}

/// Where calls write their messages. A pipe that nobody reads could hold them up.
fn log(here: &Path) -> std::fs::File {
    std::fs::File::create(here.join("stderr.txt")).unwrap()
}

fn read_log(here: &Path) -> String {
    std::fs::read_to_string(here.join("stderr.txt")).unwrap_or_default()
}

/// Who receives a signal.
#[derive(Clone, Copy, Debug)]
enum Receiver {
    /// The process that was started: the run, or mpirun.
    Started,
    /// A rank of mpirun.
    Rank(usize),
}

/// Starts the run, sends a signal after some seconds, and waits until all processes are gone. Returns the
/// exit code of the process that was started.
fn interrupted(here: &Path, ranks: usize, seconds: f64, signal: i32, receiver: Receiver) -> i32 {
    let mut command = command(here, ranks);
    let mut child = spawn(interruptible(&mut command).stdout(Stdio::null()).stderr(log(here)));
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let members = if ranks > 1 { children(child.id()) } else { Vec::new() };
    if child.try_wait().unwrap().is_none() {
        match receiver {
            Receiver::Rank(rank) if rank < members.len() && alive(members[rank]) => {
                send(members[rank], signal)
            }
            _ => send(child.id(), signal),
        }
    }
    let deadline = Instant::now() + STUCK;
    let code = ended(&mut child, deadline);
    while members.iter().any(|&member| alive(member)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left: Vec<u32> = members.into_iter().filter(|&member| alive(member)).collect();
    left.iter().for_each(|&member| send(member, libc::SIGKILL));
    if code.is_none() {
        let _ = child.kill();
    }
    let place = format!("signal {signal} to {receiver:?} after {seconds:.3} s");
    assert!(left.is_empty(), "{place}: processes are left: {}", read_log(here));
    code.unwrap_or_else(|| panic!("{place}: it does not end: {}", read_log(here)))
}

/// Kills runs at random moments of their first `latest` seconds, and continues them.
fn kill(what: &str, ranks: usize, kills: usize, latest: f64) {
    let mut tally = Tally::default();
    for number in 0..kills {
        let here = folder();
        let receiver = match (ranks, (draw(&format!("{what} receiver"), number) * 3.0) as usize) {
            (1, _) | (_, 2) => Receiver::Started,
            (_, rank) => Receiver::Rank(rank),
        };
        let seconds = latest * draw(what, number);
        let code = interrupted(here.path(), ranks, seconds, libc::SIGKILL, receiver);
        let made = if here.path().join("run/manifest.json").exists() { "a run" } else { "no run yet" };
        tally.add(if code == 0 { "finished before".to_owned() } else { format!("killed, {made}") });
        ends_undisturbed(
            here.path(),
            ranks,
            &format!("{what} {number}, {ranks} ranks, after {seconds:.3} s"),
        );
    }
    tally.print(&format!("{what}, {ranks} ranks"));
}

#[test]
fn runs_that_are_killed_in_their_first_second_are_taken_up() {
    for ranks in numbers_of_ranks() {
        let all = if ranks == 1 { 60 } else { 20 };
        kill("kill at the start", ranks, count(all, 1), 1.0);
    }
}

#[test]
fn runs_that_are_killed_at_any_moment_end_with_the_same_numbers() {
    for ranks in numbers_of_ranks() {
        kill("kill", ranks, count(50, 1), undisturbed(ranks).seconds);
    }
}

#[test]
fn runs_that_are_stopped_by_signals_end_with_the_same_numbers() {
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1];
    for ranks in numbers_of_ranks() {
        let mut tally = Tally::default();
        for number in 0..count(50, if ranks == 1 { signals.len() } else { 1 }) {
            let here = folder();
            let signal = signals[number % signals.len()];
            let seconds = undisturbed(ranks).seconds * draw("signal", number);
            let code = interrupted(here.path(), ranks, seconds, signal, Receiver::Started);
            // mpirun answers signals with an exit code of its own, or dies of them while it starts
            let stops = [0, 75].contains(&code) || ranks > 1;
            assert!(
                stops,
                "signal {signal} after {seconds:.3} s: exit code {code}: {}",
                read_log(here.path())
            );
            tally.add(format!("signal {signal}: exit code {code}"));
            ends_undisturbed(
                here.path(),
                ranks,
                &format!("signal {signal}, {ranks} ranks, after {seconds:.3} s"),
            );
        }
        tally.print(&format!("signal, {ranks} ranks"));
    }
}

#[test]
fn runs_that_reach_a_limit_on_file_sizes_go_on_without_it() {
    let mut tally = Tally::default();
    for number in 0..count(25, 1) {
        let here = folder();
        // the checkpoints are the largest files
        let limit = (draw("limit", number).powi(3) * undisturbed(1).bytes as f64 / 4.0) as u64;
        let mut limited = command(here.path(), 1);
        let limits = libc::rlimit { rlim_cur: limit, rlim_max: libc::RLIM_INFINITY };
        let set = move || {
            // SAFETY: the call reads the limits, and is async-signal-safe.
            match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limits) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure makes one system call.
        unsafe { limited.pre_exec(set) };
        tally.add(told(&output(&mut limited), "File too large"));
        ends_undisturbed(here.path(), 1, &format!("limit {number}: {limit} bytes"));
    }
    tally.print("file sizes");
}

/// The exit code of a run that may have ended because of `reason`, which it must then tell.
fn told(output: &Output, reason: &str) -> String {
    let text = stderr(output);
    match output.status.code() {
        Some(0) => "finished".to_owned(),
        Some(code @ (2 | 3)) => {
            assert!(text.contains(reason), "exit code {code} without `{reason}`: {text}");
            format!("exit code {code}")
        }
        other => panic!("exit code {other:?}: {text}"),
    }
}

/// A file system of a given size, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where only the administrator may mount.
    fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "eqr-test"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder.to_owned()))
    }

    fn enlarge(&self) {
        let mut command = Command::new("mount");
        let output = command.args(["-o", "remount,size=256m"]).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).output();
    }
}

#[test]
fn runs_on_a_full_disk_go_on_when_there_is_space() {
    for ranks in numbers_of_ranks() {
        let mut tally = Tally::default();
        for number in 0..count(25, 1) {
            let here = folder();
            let size = 4096 + (draw("disk", number) * 1.2 * undisturbed(ranks).bytes as f64) as u64;
            let Some(disk) = SmallDisk::mount(&here.path().join("run"), size) else {
                return skipped("no file system can be mounted here");
            };
            let output = output(&mut command(here.path(), ranks));
            tally.add(told(&output, "No space left"));
            disk.enlarge();
            ends_undisturbed(here.path(), ranks, &format!("disk {number}, {ranks} ranks: {size} bytes"));
        }
        tally.print(&format!("full disks, {ranks} ranks"));
    }
}

/// Kills a run at each system call that changes a file, from its start to its first checkpoints.
#[test]
fn runs_that_are_killed_between_two_changes_of_files_are_taken_up() {
    const CHANGES: [&str; 15] = [
        "mkdir",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "unlink",
        "unlinkat",
        "rmdir",
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "ftruncate",
        "fchmod",
    ];
    if !takes_long() {
        return;
    }
    if !is_installed("strace") {
        return skipped("no strace on this machine");
    }
    let mut tally = Tally::default();
    for call in CHANGES {
        for number in 1.. {
            let here = folder();
            let mut traced = Command::new("strace");
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            traced.args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
                &inject,
                PROGRAM,
            ]);
            let output = output(traced.args(args("run")).current_dir(here.path()));
            let run = here.path().join("run");
            let checkpoints = std::fs::read_dir(run.join("checkpoints/ours-seed0")).map(Iterator::count);
            let is_killed = !output.status.success();
            if is_killed {
                tally.add(if run.join("manifest.json").exists() {
                    "killed, a run"
                } else {
                    "killed, no run yet"
                });
                ends_undisturbed(here.path(), 1, &format!("{call} {number}"));
            }
            if !is_killed || checkpoints.is_ok_and(|count| count > 1) {
                break;
            }
        }
    }
    tally.print("kills between system calls");
}
