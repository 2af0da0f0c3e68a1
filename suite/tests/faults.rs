//! A rank that dies or stands still ends the job, leaves no process, and the run goes on afterwards.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{eqr, folder, mpirun, stderr, succeeded, wait_for_checkpoints};

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

fn ended(child: &mut Child, within: Duration) -> Option<i32> {
    let deadline = Instant::now() + within;
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

/// Sends `name` to one rank of two in the middle of a training.
fn strike(folder: &Path, name: &str, rank: usize) -> String {
    let mut command = mpirun(folder, 2, &ARGS).expect("looked for before");
    // the watchdog's patience, shortened
    command.env("EQR_WATCHDOG_SECONDS", "3").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut job = command.spawn().unwrap();
    wait_for_checkpoints(&folder.join("run"), 1);
    let ranks = children(job.id());
    assert_eq!(ranks.len(), 2, "mpirun's children are the ranks");
    assert!(!folder.join("run/cells/pretrain-ours-seed0.json").exists(), "struck before the end");
    signal(name, ranks[rank]);
    let code = ended(&mut job, Duration::from_secs(60));
    if code.is_none() {
        let _ = job.kill();
        ranks.iter().for_each(|&rank| signal("-KILL", rank));
    }
    assert!(code.is_some_and(|code| code != 0), "{name} to rank {rank}: mpirun ended with {code:?}");
    assert!(!ranks.iter().any(|&rank| alive(rank)), "{name} to rank {rank}: a process is left");
    stderr(&job.wait_with_output().unwrap())
}

#[test]
fn a_rank_that_dies_or_stands_still_ends_the_job_and_the_run_resumes() {
    for (name, rank) in [("-KILL", 0), ("-KILL", 1), ("-STOP", 0), ("-STOP", 1)] {
        let folder = folder();
        if mpirun(folder.path(), 2, &[]).is_none() {
            return;
        }
        let text = strike(folder.path(), name, rank);
        if name == "-STOP" {
            assert!(text.contains("has not answered for"), "{text}");
        }
        succeeded(&eqr(folder.path(), &ARGS));
        assert_eq!(common::cell(&folder.path().join("run"), "pretrain-ours-seed0")["resumed"], true, "{name}");
    }
}
