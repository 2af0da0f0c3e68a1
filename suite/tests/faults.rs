//! A rank that dies or stands still ends the job, leaves no process, and the run goes on afterwards.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{cell, folder, mpirun, stderr, succeeded, wait_for_checkpoints};

/// Enough epochs to be hit in the middle.
const ARGS: [&str; 10] =
    ["run", "tiny.toml", "--out", "run", "--threads", "1", "--set", "train.epochs=60", "--set", "train.batch=8"];

/// Processes below `parent`.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // the name in brackets may hold anything
        let after = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after.split(' ').nth(1) == Some(parent.to_string().as_str())
    })
    .collect()
}

/// Whether the process runs or is stopped; one that has ended and only waits for its parent to look does not count.
fn alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().unwrap().success());
}

fn ended(child: &mut Child, deadline: Instant) -> Option<i32> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code().unwrap_or(-1));
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends `name` to a rank; the launcher must end with an error and no process be left within a minute. What the job said.
fn strike(mut job: Child, ranks: &[u32], rank: usize, name: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    signal(name, ranks[rank]);
    let code = ended(&mut job, deadline);
    while ranks.iter().any(|&rank| alive(rank)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<u32> = ranks.iter().copied().filter(|&rank| alive(rank)).collect();
    if code.is_none() {
        let _ = job.kill();
    }
    left.iter().for_each(|&rank| signal("-KILL", rank));
    let text = stderr(&job.wait_with_output().unwrap());
    assert!(code.is_some_and(|code| code != 0), "{name} to rank {rank}: mpirun ended with {code:?}: {text}");
    assert!(left.is_empty(), "{name} to rank {rank}: a process is left: {text}");
    text
}

/// Strikes one rank of two in the middle of a training.
fn strike_in_training(folder: &Path, name: &str, rank: usize) -> String {
    let mut command = mpirun(folder, 2, &ARGS).expect("looked for before");
    // the watchdog's patience, shortened
    command.env("EQR_WATCHDOG_SECONDS", "3").stdout(Stdio::null()).stderr(Stdio::piped());
    let job = command.spawn().unwrap();
    wait_for_checkpoints(&folder.join("run"), 1);
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun's children are the ranks");
    assert!(!folder.join("run/cells/pretrain-ours-seed0.json").exists(), "struck before the end");
    strike(job, &ranks, rank, name)
}

/// The ranks of a job that has just been started: two processes, as whatever they have come to be.
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

/// Whether mpirun's child has become the program.
fn has_joined(id: u32) -> bool {
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.windows(10).any(|window| window == b"PMIX_RANK=")
}

/// With the watchdog's own patience: a rank is stopped before it has loaded anything, a second later, or in the first step.
#[test]
fn a_rank_that_is_stopped_before_the_first_step_is_done_ends_the_job_within_a_minute() {
    for (rank, when) in [(0, "at once"), (1, "after the data"), (1, "in MPI's start")] {
        let folder = folder();
        // one step a few seconds long
        let big = ["--set", "model.dim=256", "--set", "model.depth=12", "--set", "data.spec.objects_per_class=12"];
        let Some(mut command) = mpirun(folder.path(), 2, &[&ARGS[..6], &big].concat()) else { return };
        let job = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
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
        let text = strike(job, &ranks, rank, "-STOP");
        assert!(text.contains(&format!("rank {rank} (process {}", ranks[rank])), "stopped {when}: {text}");
    }
}

#[test]
fn a_job_that_is_suspended_as_a_whole_and_continued_finishes() {
    let folder = folder();
    let Some(mut command) = mpirun(folder.path(), 2, &ARGS) else { return };
    let mut job =
        command.env("EQR_WATCHDOG_SECONDS", "3").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_checkpoints(&folder.path().join("run"), 1);
    let ranks = children(job.id());
    ranks.iter().for_each(|&rank| signal("-STOP", rank));
    std::thread::sleep(Duration::from_secs(8));
    assert!(!folder.path().join("run/cells/pretrain-ours-seed0.json").exists(), "suspended before the end");
    ranks.iter().for_each(|&rank| signal("-CONT", rank));
    let code = ended(&mut job, Instant::now() + Duration::from_secs(400));
    assert_eq!(code, Some(0), "{}", stderr(&job.wait_with_output().unwrap()));
    assert!(folder.path().join("run/metrics.csv").exists());
}

#[test]
fn a_rank_that_dies_or_stands_still_ends_the_job_and_the_run_resumes_to_the_same_numbers() {
    let whole = folder();
    let Some(mut command) = mpirun(whole.path(), 2, &ARGS) else { return };
    succeeded(&command.output().unwrap());
    let numbers = |folder: &Path| {
        let curve = cell(&folder.join("run"), "pretrain-ours-seed0")["curve"].clone();
        (curve, std::fs::read_to_string(folder.join("run/metrics.csv")).unwrap())
    };
    for (name, rank) in [("-KILL", 0), ("-KILL", 1), ("-STOP", 0), ("-STOP", 1)] {
        let folder = folder();
        let text = strike_in_training(folder.path(), name, rank);
        if name == "-STOP" {
            assert!(text.contains(&format!("rank {rank} (process ")) && text.contains("has been stopped"), "{text}");
        }
        succeeded(&mpirun(folder.path(), 2, &ARGS).expect("looked for before").output().unwrap());
        assert_eq!(cell(&folder.path().join("run"), "pretrain-ours-seed0")["resumed"], true, "{name}");
        assert_eq!(numbers(folder.path()), numbers(whole.path()), "{name} to rank {rank}");
    }
}
