//! If a rank dies or is stopped, the job ends and leaves no process behind. The same command then continues
//! the run.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    cell, eqr_ranks, eqr_ranks_command, folder, has_mpi, long_args, long_run_of_two_ranks, run_args, spawn,
    stderr, succeeded, wait_for_checkpoints,
};
use crate::processes::{alive, children, ended, send};

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
