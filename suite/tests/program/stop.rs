//! A signal ends a run with exit code 75, and the same command continues it. Only one run at a time can use a
//! folder. A run can reuse trainings of other runs, and can become a baseline.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eqr_bench::run_folder::lock::RunLock;

use crate::common::{
    PROGRAM, cell, copy, eqr, eqr_ranks, eqr_ranks_command, folder, has_mpi, long_args, long_run,
    long_run_of_two_ranks, run_args, spawn, stderr, succeeded, tiny_run, wait_for_checkpoints,
};
use crate::processes::{children, ended, interruptible, send};

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.csv")).unwrap()
}

/// Starts a run and waits until it has locked its folder and there is a checkpoint.
fn at_work(command: &mut Command, run: &Path) -> Child {
    let child = spawn(interruptible(command).stdout(Stdio::null()).stderr(Stdio::piped()));
    wait_for_checkpoints(run, 1);
    wait_for(&run.join("running.json"));
    child
}

#[test]
fn a_signal_stops_a_run_with_75_and_the_next_call_ends_as_if_nothing_had_been() {
    let folder = folder();
    let here = folder.path();
    let whole = long_run();
    for (number, out) in [(libc::SIGUSR1, "user"), (libc::SIGTERM, "terminate"), (libc::SIGINT, "interrupt")]
    {
        let cut = here.join(out);
        let child = at_work(Command::new(PROGRAM).args(long_args(out)).current_dir(here), &cut);
        send(child.id(), number);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
        let hint = format!(
            "stopped by a signal\nhint: the same command continues from here: eqr-bench run tiny.toml --out {out}"
        );
        assert!(stderr(&output).contains(&hint), "{}", stderr(&output));
        assert!(!cut.join("running.json").exists() && !cut.join("cells/pretrain-ours-seed0.json").exists());
        let report = eqr(here, &["report", out]);
        assert_eq!(report.status.code(), Some(2), "{}", stderr(&report));
        assert!(stderr(&report).contains("no finished cell"), "{}", stderr(&report));

        succeeded(&eqr(here, &long_args(out)));
        assert_eq!(metrics(whole), metrics(&cut));
        let [whole, resumed] = [whole, &cut].map(|run| cell(run, "pretrain-ours-seed0"));
        assert_eq!(whole["curve"], resumed["curve"]);
        assert_eq!((&whole["resumed"], &resumed["resumed"]), (&false.into(), &true.into()));
        let manifest: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(cut.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["continued"].as_array().unwrap().len(), 1, "each call says where it was made");
        let of_program = manifest["provenance"]["program"].as_str().unwrap();
        assert_eq!(of_program.len(), 64, "{of_program}");
    }
}

/// A run whose measurements last for minutes. It is killed when a test ends without it.
struct Endless(Child);

impl Endless {
    /// Starts it, and waits until its work has begun.
    fn begin(here: &Path) -> Self {
        let args =
            run_args("endless", &["--methods", "Random init", "--set", "probe.regression.epochs=1000000"]);
        let mut command = Command::new(PROGRAM);
        // the watchdog's patience is also how often a claim is touched
        command.args(args).current_dir(here).env("EQR_WATCHDOG_SECONDS", "2");
        let run = Endless(spawn(interruptible(&mut command).stdout(Stdio::null()).stderr(Stdio::piped())));
        wait_for(&here.join("endless/cells.log"));
        // a request before the endless measurement begins would end the run by itself
        std::thread::sleep(Duration::from_secs(2));
        run
    }

    fn ended(&mut self) -> Option<i32> {
        ended(&mut self.0, Instant::now() + Duration::from_secs(60))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_second_interrupt_ends_a_run_at_once() {
    let folder = folder();
    let mut run = Endless::begin(folder.path());
    send(run.0.id(), libc::SIGINT);
    let answer = &mut [0; 8];
    run.0.stderr.as_mut().unwrap().read_exact(answer).unwrap();
    assert_eq!(answer, b"stopping", "it says that it has heard");
    // another signal is no second Ctrl-C
    send(run.0.id(), libc::SIGUSR1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(run.0.try_wait().unwrap(), None);
    send(run.0.id(), libc::SIGINT);
    assert_eq!(run.ended(), Some(75));
}

#[test]
fn a_run_that_loses_its_folder_to_another_ends_and_leaves_the_other_alone() {
    let folder = folder();
    let mut run = Endless::begin(folder.path());
    let claim = folder.path().join("endless/running.json");
    std::fs::write(&claim, "another's").unwrap();
    assert_eq!(run.ended(), Some(3));
    let mut text = String::new();
    run.0.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("running.json is no longer this run's"), "{text}");
    assert_eq!(std::fs::read_to_string(&claim).unwrap(), "another's");
}

/// Ctrl-C in a terminal also reaches what a script has started in the background: that goes on.
#[test]
fn a_background_job_is_not_interrupted_and_a_command_without_checkpoints_is_ended_at_once() {
    let folder = folder();
    let here = folder.path();
    let mut shell = Command::new("sh");
    let script = format!("trap '' INT; exec {PROGRAM} \"$@\"");
    let args = [&["-c", &script, "sh"], &long_args("protected")[..]].concat();
    let child = at_work(shell.args(args).current_dir(here), &here.join("protected"));
    send(child.id(), libc::SIGINT);
    succeeded(&child.wait_with_output().unwrap());
    assert_eq!(metrics(&here.join("protected")), metrics(long_run()));

    let mut command = Command::new(PROGRAM);
    let set = ["data", "generate", "solids", "--out", "big.h5", "--side", "128", "--objects", "200"];
    let mut child = spawn(interruptible(&mut command).args(set).current_dir(here).stderr(Stdio::null()));
    send(child.id(), libc::SIGINT);
    assert_eq!(ended(&mut child, Instant::now() + Duration::from_secs(60)), Some(-1), "ended by the signal");
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
    send(child.id(), libc::SIGUSR1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("stopped by a signal").count(), 1, "{}", stderr(&output));
    succeeded(&eqr_ranks(here, 2, &long_args("cut")));
    let whole = long_run_of_two_ranks();
    assert_eq!(metrics(whole), metrics(&cut));
    let [whole, resumed] = [whole, &cut].map(|run| cell(run, "pretrain-ours-seed0"));
    assert_eq!(whole["curve"], resumed["curve"]);
}

/// The two ranks train side by side for hours, and meet only at the end.
#[test]
fn a_signal_to_one_rank_stops_the_rank_that_trains_beside_it() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let cut = folder.path().join("cut");
    let endless = ["--methods", "VICReg,Ours", "--set", "train.epochs=100000", "--ranks-per-cell", "1"];
    let mut child = at_work(&mut eqr_ranks_command(folder.path(), 2, &run_args("cut", &endless)), &cut);
    send(children(child.id())[0], libc::SIGUSR1);
    let code = ended(&mut child, Instant::now() + Duration::from_secs(60));
    if code.is_none() {
        send(child.id(), libc::SIGTERM);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(code, Some(75), "{}", stderr(&output));
    assert!(!cut.join("stop-requested").exists(), "the request does not outlive the run");
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
    copy(tiny_run(), &here.join("pageless"));
    std::fs::remove_file(here.join("pageless/report.html")).unwrap();
    refused("pageless", "report.html is missing");
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
