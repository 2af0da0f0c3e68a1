//! If a rank dies or is stopped, the job ends and leaves no process behind. The same command then continues
//! the run.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    cell, eqr_ranks, eqr_ranks_command, folder, has_mpi, long_args, long_run_of_two_ranks, run_args, spawn,
    stderr, succeeded, wait_for_checkpoints,
};
use crate::processes::{alive, children, ended, halt_main_thread, notice, send};
use crate::segmentation;
use crate::skip::skipped;

/// Seconds that the watchdog waits in most tests, instead of 40.
const PATIENCE: u64 = 2;

/// Starts two ranks whose watchdog has the patience given, in seconds.
fn started(folder: &Path, args: &[&str], patience: Option<u64>) -> Child {
    let mut command = eqr_ranks_command(folder, 2, args);
    command.envs(patience.map(|seconds| ("EQR_WATCHDOG_SECONDS", seconds.to_string())));
    spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))
}

/// Sends a signal to a rank. Within a minute the launcher must end with an error and leave no
/// process. Returns stderr.
fn strike(mut job: Child, ranks: &[u32], rank: usize, signal: i32) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    send(ranks[rank], signal);
    let code = ended(&mut job, deadline);
    while ranks.iter().any(|&rank| alive(rank)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<u32> = ranks.iter().copied().filter(|&rank| alive(rank)).collect();
    if code.is_none() {
        let _ = job.kill();
    }
    left.iter().for_each(|&rank| send(rank, libc::SIGKILL));
    let text = stderr(&job.wait_with_output().unwrap());
    assert!(
        code.is_some_and(|code| code != 0),
        "signal {signal} to rank {rank}: mpirun ended with {code:?}: {text}"
    );
    assert!(left.is_empty(), "signal {signal} to rank {rank}: a process is left: {text}");
    text
}

/// Sends the signal to one rank of two in the middle of a training.
fn strike_in_training(folder: &Path, signal: i32, rank: usize) -> String {
    let job = started(folder, &long_args("run"), Some(PATIENCE));
    wait_for_checkpoints(&folder.join("run"), 1);
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun's children are the ranks");
    assert!(!folder.join("run/cells/pretrain-ours-seed0.json").exists(), "struck before the end");
    strike(job, &ranks, rank, signal)
}

/// The two ranks of a job that has just been started.
fn newborn(job: &Child) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ranks: Vec<u32> = children(job.id()).into_iter().filter(|&rank| has_joined(rank)).collect();
        if ranks.len() == 2 {
            return ranks;
        }
        assert!(Instant::now() < deadline, "no ranks appeared");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether mpirun's child has become a rank.
fn has_joined(id: u32) -> bool {
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.windows(10).any(|window| window == b"PMIX_RANK=")
}

/// A rank is stopped before it has loaded anything, a moment later, or in the first step. With
/// `EQR_TEST_FULL=1` the watchdog waits as long as it does for users.
#[test]
fn a_rank_that_is_stopped_before_the_first_step_is_done_ends_the_job_within_a_minute() {
    if !has_mpi() {
        return;
    }
    let patience = std::env::var_os("EQR_TEST_FULL").is_none().then_some(PATIENCE);
    for (rank, when) in [(0, "at once"), (1, "after the data"), (1, "in MPI's start")] {
        let folder = folder();
        // a step takes a few seconds
        let big =
            ["--set", "model.dim=256", "--set", "model.depth=12", "--set", "data.spec.objects_per_class=12"];
        let job = started(folder.path(), &run_args("run", &big), patience);
        let ranks = newborn(&job);
        match when {
            "after the data" => {
                let deadline = Instant::now() + Duration::from_secs(60);
                // written right before the first training begins
                while !folder.path().join("run/report.json").exists() {
                    assert!(Instant::now() < deadline, "no run appeared");
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            "in MPI's start" => std::thread::sleep(Duration::from_millis(150)),
            _ => (),
        }
        let text = strike(job, &ranks, rank, libc::SIGSTOP);
        assert!(text.contains(&format!("rank {rank} (process {}", ranks[rank])), "stopped {when}: {text}");
    }
}

#[test]
fn a_job_that_is_suspended_as_a_whole_and_continued_finishes() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let mut job = started(folder.path(), &long_args("run"), Some(PATIENCE));
    wait_for_checkpoints(&folder.path().join("run"), 1);
    let ranks = children(job.id());
    ranks.iter().for_each(|&rank| send(rank, libc::SIGSTOP));
    std::thread::sleep(Duration::from_secs(2 * PATIENCE));
    assert!(!folder.path().join("run/cells/pretrain-ours-seed0.json").exists(), "suspended before the end");
    ranks.iter().for_each(|&rank| send(rank, libc::SIGCONT));
    let code = ended(&mut job, Instant::now() + Duration::from_secs(400));
    assert_eq!(code, Some(0), "{}", stderr(&job.wait_with_output().unwrap()));
    assert!(folder.path().join("run/metrics.csv").exists());
}

#[test]
fn a_rank_that_dies_or_stands_still_ends_the_job_and_the_run_resumes_to_the_same_numbers() {
    if !has_mpi() {
        return;
    }
    let numbers = |run: &Path| {
        let curve = cell(run, "pretrain-ours-seed0")["curve"].clone();
        (curve, std::fs::read_to_string(run.join("metrics.csv")).unwrap())
    };
    for (signal, rank) in
        [libc::SIGKILL, libc::SIGSTOP].into_iter().flat_map(|signal| [(signal, 0), (signal, 1)])
    {
        let folder = folder();
        let text = strike_in_training(folder.path(), signal, rank);
        if signal == libc::SIGSTOP {
            assert!(
                text.contains(&format!("rank {rank} (process ")) && text.contains("has been stopped"),
                "{text}"
            );
        }
        succeeded(&eqr_ranks(folder.path(), 2, &long_args("run")));
        let run = folder.path().join("run");
        assert_eq!(cell(&run, "pretrain-ours-seed0")["resumed"], true, "signal {signal}");
        assert_eq!(numbers(&run), numbers(long_run_of_two_ranks()), "signal {signal} to rank {rank}");
    }
}

/// Ids of the measurements that ranks have taken.
fn taken(run: &Path) -> Vec<String> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = |folder: std::fs::DirEntry| entries(&folder.path()).map(|file| file.file_name()).collect();
    let folder = entries(run).find(|entry| entry.file_name().to_string_lossy().starts_with("taken-"));
    let names: Vec<std::ffi::OsString> = folder.map(names).unwrap_or_default();
    names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Waits until a job is as far as the test needs it; ends it and fails if it never is.
fn wait_until(job: &mut Child, is_ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_ready() {
        if job.try_wait().unwrap().is_some() || Instant::now() > deadline {
            // mpirun ends the ranks
            send(job.id(), libc::SIGTERM);
            panic!("the job has not come so far: {:?}", job.wait());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Halts the main thread of rank 1 of two, as a driver or a file system does that does not answer: the
/// process is not stopped. The job must end with an error. Returns stderr; `None` where no thread can be
/// halted.
fn halt_in(mut job: Child) -> Option<String> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun's children are the ranks");
    let halted = halt_main_thread(ranks[1]);
    let code = loop {
        notice(ranks[1]);
        match job.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if halted.is_err() || Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    ranks.iter().filter(|&&rank| alive(rank)).for_each(|&rank| send(rank, libc::SIGKILL));
    let text = stderr(&job.wait_with_output().unwrap());
    if let Err(error) = halted {
        skipped(&format!("no thread can be halted here: {error}"));
        return None;
    }
    assert!(code.is_some_and(|code| code != 0), "mpirun ended with {code:?}: {text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    Some(text)
}

#[test]
fn a_rank_that_stands_still_in_a_measurement_ends_the_job_with_one_message() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let endless =
        ["--methods", "Random init,PCA of the pixels (16)", "--set", "probe.regression.epochs=1000000"];
    let mut job = started(folder.path(), &run_args("run", &endless), Some(1));
    let run = folder.path().join("run");
    wait_until(&mut job, || taken(&run).len() == 2);
    let measured = taken(&run);
    let Some(text) = halt_in(job) else { return };
    let says =
        |id: &String| text.contains(&format!("error: {id} has made no progress for 10 s; ending the job"));
    assert!(measured.iter().any(says), "{measured:?}: {text}");
}

/// Each step of a head waits for both ranks: whichever finds it first says it.
#[test]
fn a_rank_that_stands_still_in_a_segmentation_ends_the_job_with_one_message() {
    if !has_mpi() {
        return;
    }
    let folder = segmentation::folder();
    let steps = ["--steps", "1000000", "--out", "heads"];
    let mut job = started(folder.path(), &segmentation::quick(&steps), Some(1));
    // made right before the first head is trained
    wait_until(&mut job, || folder.path().join("heads").exists());
    std::thread::sleep(Duration::from_secs(1));
    let Some(text) = halt_in(job) else { return };
    let says = ["the segmentation has made no progress for 10 s", "another rank has not answered for "];
    assert!(says.iter().any(|part| text.contains(part)), "{text}");
}
