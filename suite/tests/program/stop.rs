//! A signal ends a run with exit code 75, and the same command continues it. Only one run at a time can use a
//! folder. A run can reuse trainings of other runs, and can become a baseline.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eqr_bench::run_folder::lock::RunLock;

use crate::common::{
    PROGRAM, cell, copy, eqr, eqr_ranks, eqr_ranks_command, folder, has_mpi, long_args, long_run,
    long_run_of_two_ranks, run_args, spawn, stderr, succeeded, tiny_run, wait_for_checkpoints,
};

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.csv")).unwrap()
}

/// Starts a run and waits until it has locked its folder and there is a checkpoint, of this call or an
/// earlier one.
fn at_work(command: &mut Command, run: &Path) -> Child {
    let child = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
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
    let whole = long_run();
    let cut = here.join("cut");
    for number in [libc::SIGUSR1, libc::SIGTERM] {
        let child = at_work(Command::new(PROGRAM).args(long_args("cut")).current_dir(here), &cut);
        signal(&child, number);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("stopped by a signal\nhint: the same command continues"),
            "{}",
            stderr(&output)
        );
        assert!(!cut.join("running.json").exists() && !cut.join("cells/pretrain-ours-seed0.json").exists());
        let report = eqr(here, &["report", "cut"]);
        assert_eq!(report.status.code(), Some(2), "{}", stderr(&report));
        assert!(stderr(&report).contains("no finished cell"), "{}", stderr(&report));
    }
    succeeded(&eqr(here, &long_args("cut")));
    assert_eq!(metrics(whole), metrics(&cut));
    let [whole, resumed] = [whole, &cut].map(|run| cell(run, "pretrain-ours-seed0"));
    assert_eq!(whole["curve"], resumed["curve"]);
    assert_eq!((&whole["resumed"], &resumed["resumed"]), (&false.into(), &true.into()));
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
    let output = eqr(here, &long_args("run"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("another run is using this folder (process"), "{}", stderr(&output));
    drop(claim);
    assert!(!here.join("run").exists(), "a run that was refused leaves nothing behind");
}

#[test]
fn the_ranks_of_an_mpirun_stop_together() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    let cut = here.join("cut");
    let child = at_work(&mut eqr_ranks_command(here, 2, &long_args("cut")), &cut);
    signal(&child, libc::SIGUSR1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("stopped by a signal").count(), 1, "{}", stderr(&output));
    succeeded(&eqr_ranks(here, 2, &long_args("cut")));
    let whole = long_run_of_two_ranks();
    assert_eq!(metrics(whole), metrics(&cut));
    let [whole, resumed] = [whole, &cut].map(|run| cell(run, "pretrain-ours-seed0"));
    assert_eq!(whole["curve"], resumed["curve"]);
}

#[test]
fn trainings_of_other_runs_are_taken_over_where_they_are_the_same() {
    let folder = folder();
    let here = folder.path();
    let run = |out: &str, more: &[&str]| eqr(here, &run_args(out, more));
    succeeded(&run("whole", &["--methods", "Random init,VICReg,Ours"]));
    // each method in its own folder, like the tasks of an array job
    for (out, method) in [("a", "VICReg"), ("b", "Ours")] {
        succeeded(&run(out, &["--methods", method, "--pretrain-only"]));
        assert!(!here.join(out).join("metrics.csv").exists(), "nothing is measured");
    }
    // the number of probe seeds does not belong to the training
    let methods = ["--methods", "Random init,VICReg,Ours", "--set", "probe.seeds=2"];
    let both = [&methods[..], &["--pretrained", "a", "--pretrained", "b"]].concat();
    let output = run("joined", &both);
    succeeded(&output);
    assert!(!stderr(&output).contains(" steps, "), "nothing is trained: {}", stderr(&output));
    assert_eq!(metrics(&here.join("whole")), metrics(&here.join("joined")));
    assert_eq!(
        cell(&here.join("joined"), "pretrain-ours-seed0")["resumed"],
        true,
        "its seconds are not a timing here"
    );

    let output = run("other", &["--pretrained", "a", "--set", "train.lr=1e-3"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(
        text.contains("train.lr: it has 0.01, this suite 0.001") && text.contains("--pretrained a"),
        "{text}"
    );
    let output = run("other2", &["--pretrained", "absent"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("absent holds no run") && !here.join("other2").exists(),
        "{}",
        stderr(&output)
    );
    // a damaged checkpoint is not taken over
    let parameters =
        std::fs::read_dir(here.join("b/checkpoints/ours-seed0")).unwrap().flatten().map(|e| e.path());
    parameters.for_each(|step| std::fs::write(step.join("parameters.safetensors"), "no").unwrap());
    let output = run("joined2", &both);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--pretrained b") && stderr(&output).contains("parameters.safetensors"));
}

#[test]
fn finished_runs_become_baselines_and_others_do_not() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("good"));
    let refused = |of: &str, says: &str| {
        let output = eqr(here, &["record", of]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    };
    refused("absent", "holds no run");
    copy(tiny_run(), &here.join("half"));
    std::fs::remove_file(here.join("half/timing.json")).unwrap();
    refused("half", "is not finished");
    for name in ["monday", "tuesday"] {
        succeeded(&eqr(here, &["record", "good", "--name", name]));
    }
    succeeded(&eqr(here, &["record", "good"]));
    let taken = eqr(here, &["record", "good", "--name", "monday"]);
    assert_eq!(taken.status.code(), Some(2));
    assert!(stderr(&taken).contains("already exists"), "{}", stderr(&taken));
    let series = here.join("results/baselines/tiny");
    assert_eq!(std::fs::read_dir(&series).unwrap().count(), 3);
    assert!(!series.join("monday/checkpoints").exists() && series.join("monday/cells").exists());
    // `report` and `compare` accept a baseline as a run, and the folder of all baselines as a series
    succeeded(&eqr(here, &["report", "results/baselines/tiny/monday"]));
    let output = eqr(here, &["compare", "results/baselines/tiny", "good"]);
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Ours, steps/s of a run") && text.contains("(n = 3)"), "{text}");
    let output = eqr(here, &["compare", "results", "good"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("neither a run nor recorded runs"), "{}", stderr(&output));
}
