//! `run --share`: several launches of one command share the work of a run.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::{PROGRAM, eqr, finished, folder, is_refusal, run_args, spawn, stderr, succeeded};
use crate::processes::send;

/// Eight trainings, and four encoders that are not trained.
const EIGHT: [&str; 6] = ["--methods", "Ours,VICReg,Random init", "--seeds", "4", "--set", "train.epochs=40"];

fn launch(here: &Path) -> Child {
    let args = run_args("out", &[&EIGHT[..], &["--share"]].concat());
    spawn(Command::new(PROGRAM).args(args).current_dir(here).stdout(Stdio::null()).stderr(Stdio::piped()))
}

/// One of three launches is killed while it trains. The others do what it has left, nothing is trained or
/// measured twice, and the values are those of one process.
#[test]
fn three_launches_do_the_work_of_one_though_one_is_killed() {
    let folder = folder();
    let here = folder.path();
    let whole = finished(1, &run_args("eight", &EIGHT));
    let mut launches = [launch(here), launch(here), launch(here)];
    let shared = here.join("out.shared");
    let is_training = || {
        let runs = std::fs::read_dir(&shared).into_iter().flatten().flatten();
        let locks = runs.filter(|run| run.path().join("running.json").exists());
        let pid = format!("\"pid\":{}", launches[0].id());
        let own = |run: std::fs::DirEntry| {
            std::fs::read_to_string(run.path().join("running.json")).is_ok_and(|lock| lock.contains(&pid))
        };
        locks.into_iter().any(own)
    };
    let start = std::time::Instant::now();
    while !is_training() && start.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    send(launches[0].id(), libc::SIGKILL);
    let _ = launches[0].wait();
    let [_, second, third] = launches;
    let ends = [second, third].map(|launch| launch.wait_with_output().unwrap());
    ends.iter().for_each(succeeded);
    let leave_the_end_to_another =
        ends.iter().filter(|end| stderr(end).contains("another launch puts them together")).count();
    assert!(leave_the_end_to_another <= 1);
    let metrics = |run: &Path| std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    assert_eq!(metrics(&here.join("out")), metrics(&whole));
    let trained: usize = ends.iter().map(|end| stderr(end).matches(" steps, ").count()).sum();
    assert!((7..=8).contains(&trained), "{trained} trainings by the two that were left");
    let log = std::fs::read_to_string(here.join("out/log.jsonl")).unwrap();
    assert_eq!(log.matches("\"taken_from\"").count(), 8 + 12, "every cell comes from a part: {log}");
    // a further launch finds everything done
    succeeded(&eqr(here, &run_args("out", &[&EIGHT[..], &["--share"]].concat())));
}

/// What a plain run has trained and measured is not done again; another configuration is refused before anything is
/// written, on either side.
#[test]
fn parts_take_over_what_the_whole_run_has() {
    let folder = folder();
    let here = folder.path();
    let run =
        |more: &[&str]| eqr(here, &run_args("out", &[&["--methods", "Ours,Random init"], more].concat()));
    let is_refused = |folder: &str| {
        let says = format!("{folder} holds a run with another configuration");
        is_refusal(&run(&["--share", "--set", "probe.seeds=1"]), &[&says, "probe.seeds: the folder has 2"]);
    };
    succeeded(&run(&[]));
    let values = || std::fs::read_to_string(here.join("out/metrics.csv")).unwrap();
    let measured = values();
    is_refused("out");
    assert!(!here.join("out.shared").exists(), "a refused launch leaves nothing");
    let shared = run(&["--share"]);
    succeeded(&shared);
    assert!(!stderr(&shared).contains(" steps, "), "nothing is trained again: {}", stderr(&shared));
    assert_eq!(values(), measured);
    let log = std::fs::read_to_string(here.join("out.shared/ours-seed0/log.jsonl")).unwrap();
    assert_eq!(log.matches("\"taken_from\"").count(), 2, "the training and its probe: {log}");
    std::fs::remove_dir_all(here.join("out")).unwrap();
    is_refused("out.shared/ours-seed0");
}

/// `auto` may take another number type on each node, and at each time.
#[test]
fn the_launch_that_comes_first_chooses_the_number_type() {
    let folder = folder();
    let here = folder.path();
    let run = |more: &[&str]| {
        let random =
            ["run", "tiny.toml", "--out", "out", "--threads", "1", "--methods", "Random init", "--share"];
        succeeded(&eqr(here, &[&random[..], more].concat()));
        let manifest = std::fs::read_to_string(here.join("out/manifest.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&manifest).unwrap()["configuration"]["precision"].clone()
    };
    assert_eq!(run(&["--precision", "bf16"]), "bf16");
    std::fs::remove_dir_all(here.join("out")).unwrap();
    std::fs::remove_dir_all(here.join("out.shared/random-init-seed0")).unwrap();
    assert_eq!(run(&[]), "bf16");
}

/// A training that diverges ends its part alone: the launch that finishes the run says so, with the other
/// rows measured.
#[test]
fn a_part_that_fails_is_told_at_the_end() {
    let folder = folder();
    let here = folder.path();
    let failing = ["--methods", "Ours,Random init", "--set", "train.lr=1e18", "--share"];
    let out = eqr(here, &run_args("out", &failing));
    assert_eq!(out.status.code(), Some(3), "{}", stderr(&out));
    assert!(stderr(&out).contains("error: diverged: pretrain-ours-seed0"), "{}", stderr(&out));
    let metrics = std::fs::read_to_string(here.join("out/metrics.csv")).unwrap();
    assert!(metrics.contains("Random init") && !metrics.contains("Ours"), "{metrics}");
}

#[test]
fn a_suite_without_methods_has_nothing_to_share() {
    let folder = folder();
    let refused = eqr(folder.path(), &run_args("run", &["--methods", "", "--share"]));
    is_refusal(&refused, &["hint: "]);
}
