//! A run that is asked to stop by a signal ends with 75 and goes on as if nothing had been; a folder has one run at a time; trainings of other
//! runs are taken over.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{PROGRAM, cell, eqr, folder, mpirun, stderr, succeeded, wait_for_checkpoints};
use eqr_bench::run_folder::lock::RunLock;

/// Enough epochs to be hit in the middle.
fn args(out: &str) -> [&str; 8] {
    ["run", "tiny.toml", "--out", out, "--threads", "1", "--set", "train.epochs=60"]
}

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.csv")).unwrap()
}

/// Started, and at work: with its folder claimed and a checkpoint there, of this call or of one before.
fn at_work(command: &mut Command, run: &Path) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for_checkpoints(run, 1);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !run.join("running.json").exists() {
        assert!(Instant::now() < deadline, "the run does not claim its folder");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: sends a signal to a child of this process that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[test]
fn a_signal_stops_a_run_with_75_and_the_next_call_ends_as_if_nothing_had_been() {
    let folder = folder();
    let here = folder.path();
    succeeded(&eqr(here, &args("whole")));
    let cut = here.join("cut");
    for number in [libc::SIGUSR1, libc::SIGTERM] {
        let child = at_work(Command::new(PROGRAM).args(args("cut")).current_dir(here), &cut);
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        assert!(stderr(&output).contains("stopped by a signal\nhint: the same command goes on"), "{}", stderr(&output));
        assert!(!cut.join("running.json").exists() && !cut.join("cells/pretrain-ours-seed0.json").exists());
        let report = eqr(here, &["report", "cut"]);
        assert_eq!(report.status.code(), Some(2), "{}", stderr(&report));
        assert!(stderr(&report).contains("no finished cell"), "{}", stderr(&report));
    }
    succeeded(&eqr(here, &args("cut")));
    let [whole, resumed] = [&here.join("whole"), &cut].map(|run| cell(run, "pretrain-ours-seed0"));
    assert_eq!(whole["curve"], resumed["curve"]);
    assert_eq!((&whole["resumed"], &resumed["resumed"]), (&false.into(), &true.into()));
    assert_eq!(metrics(&here.join("whole")), metrics(&cut));
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(cut.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["continued"].as_array().unwrap().len(), 2, "each call says where it was made");
    let of_program = manifest["provenance"]["program"].as_str().unwrap();
    assert_eq!(of_program.len(), 64, "{of_program}");
}

#[test]
fn a_folder_at_which_another_run_works_is_refused() {
    let folder = folder();
    let here = folder.path();
    let claim = RunLock::take(&here.join("run")).unwrap();
    let output = eqr(here, &args("run"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("another run is at work there (process"), "{}", stderr(&output));
    drop(claim);
    assert!(!here.join("run").exists(), "a run that was refused leaves nothing behind");
}

#[test]
fn the_ranks_of_an_mpirun_stop_together() {
    let folder = folder();
    let here = folder.path();
    let Some(mut whole) = mpirun(here, 2, &args("whole")) else { return };
    succeeded(&whole.output().unwrap());
    let cut = here.join("cut");
    let child = at_work(&mut mpirun(here, 2, &args("cut")).unwrap(), &cut);
    signal(&child, libc::SIGUSR1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("stopped by a signal").count(), 1, "{}", stderr(&output));
    succeeded(&mpirun(here, 2, &args("cut")).unwrap().output().unwrap());
    assert_eq!(metrics(&here.join("whole")), metrics(&cut));
    let [whole, resumed] = [&here.join("whole"), &cut].map(|run| cell(run, "pretrain-ours-seed0"));
    assert_eq!(whole["curve"], resumed["curve"]);
}

#[test]
fn trainings_of_other_runs_are_taken_over_where_they_are_the_same() {
    let folder = folder();
    let here = folder.path();
    let run = |out: &str, more: &[&str]| {
        let fixed = ["run", "tiny.toml", "--threads", "1", "--out", out];
        eqr(here, &[&fixed[..], more].concat())
    };
    succeeded(&run("whole", &["--methods", "Random init,VICReg,Ours"]));
    // as the tasks of an array do it: each method in a folder of its own
    for (out, method) in [("a", "VICReg"), ("b", "Ours")] {
        succeeded(&run(out, &["--methods", method, "--pretrain-only"]));
        assert!(!here.join(out).join("metrics.csv").exists(), "nothing is measured");
    }
    // another number of probe seeds is no other training
    let methods = ["--methods", "Random init,VICReg,Ours", "--set", "probe.seeds=2"];
    let both = [&methods[..], &["--pretrained", "a", "--pretrained", "b"]].concat();
    let output = run("joined", &both);
    succeeded(&output);
    assert!(!stderr(&output).contains(" steps, "), "nothing is trained: {}", stderr(&output));
    assert_eq!(metrics(&here.join("whole")), metrics(&here.join("joined")));
    assert_eq!(cell(&here.join("joined"), "pretrain-ours-seed0")["resumed"], true, "its seconds are no timing here");

    let output = run("other", &["--pretrained", "a", "--set", "train.lr=1e-3"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("train.lr: it has 0.01, this suite 0.001") && text.contains("--pretrained a"), "{text}");
    let output = run("other2", &["--pretrained", "absent"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("absent holds no run") && !here.join("other2").exists(), "{}", stderr(&output));
    // a damaged checkpoint is not taken over
    let parameters = std::fs::read_dir(here.join("b/checkpoints/ours-seed0")).unwrap().flatten().map(|e| e.path());
    parameters.for_each(|step| std::fs::write(step.join("parameters.safetensors"), "no").unwrap());
    let output = run("joined2", &both);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--pretrained b") && stderr(&output).contains("parameters.safetensors"));
}

#[test]
fn finished_runs_become_baselines_and_others_do_not() {
    let folder = folder();
    let here = folder.path();
    let run = |out: &str, more: &[&str]| {
        eqr(here, &[&["run", "tiny.toml", "--threads", "1", "--out", out][..], more].concat())
    };
    succeeded(&run("good", &[]));
    let refused = |of: &str, says: &str| {
        let output = eqr(here, &["record", of]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    };
    refused("absent", "holds no run");
    succeeded(&run("half", &["--pretrain-only"]));
    refused("half", "is not finished");
    for name in ["monday", "tuesday"] {
        succeeded(&eqr(here, &["record", "good", "--name", name]));
    }
    succeeded(&eqr(here, &["record", "good"]));
    let taken = eqr(here, &["record", "good", "--name", "monday"]);
    assert_eq!(taken.status.code(), Some(2));
    assert!(stderr(&taken).contains("is there already"), "{}", stderr(&taken));
    let series = here.join("results/baselines/tiny");
    assert_eq!(std::fs::read_dir(&series).unwrap().count(), 3);
    assert!(!series.join("monday/checkpoints").exists() && series.join("monday/cells").exists());
    // a baseline is a run to `report` and `compare`, and all of them are a series
    succeeded(&eqr(here, &["report", "results/baselines/tiny/monday"]));
    let output = eqr(here, &["compare", "results/baselines/tiny", "good"]);
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Ours, steps/s of a run") && text.contains("(n = 3)"), "{text}");
    let output = eqr(here, &["compare", "results", "good"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("neither a run nor recorded runs"), "{}", stderr(&output));
}
