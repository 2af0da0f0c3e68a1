//! `watch` and the events for TensorBoard: what a run tells while it goes on.

use std::process::{Command, Stdio};

use crate::common::{
    PROGRAM, copy, eqr, folder, is_refusal, long_args, output, run_args, spawn, stderr, succeeded, tiny_run,
    wait_for_checkpoints,
};
use crate::processes::{interruptible, send};

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_finished_run_is_shown_once() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    let shown = eqr(here, &["watch", "run"]);
    succeeded(&shown);
    let text = stdout(&shown);
    for part in
        ["run: finished", "cells finished: 3 of 3", "rotation R2", "Loss of finished trainings", "step 21"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "a pipe gets no control characters");
    is_refusal(&eqr(here, &["watch", "."]), &["holds no run", "hint:"]);
    let ascii = output(Command::new(PROGRAM).args(["watch", "run"]).env("LC_ALL", "C").current_dir(here));
    assert!(ascii.stdout.is_ascii(), "{}", stdout(&ascii));
    // a recorded run has no log
    std::fs::remove_file(here.join("run/log.jsonl")).unwrap();
    std::fs::remove_file(here.join("run/timing.json")).unwrap();
    let text = stdout(&eqr(here, &["watch", "run", "--once"]));
    assert!(text.contains("run: stopped") && text.contains("cells finished: 3\n"), "{text}");
}

#[test]
fn a_run_is_watched_to_its_end_and_ends_by_itself() {
    let folder = folder();
    let here = folder.path();
    let mut command = Command::new(PROGRAM);
    command.args(long_args("run")).current_dir(here).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = spawn(&mut command);
    wait_for_checkpoints(&here.join("run"), 1);
    let mut command = Command::new(PROGRAM);
    command.args(["watch", "run", "--every", "1"]).current_dir(here).stdout(Stdio::piped());
    let watching = spawn(&mut command);
    // who stops watching leaves the run alone
    let mut command = Command::new(PROGRAM);
    command.args(["watch", "run"]).current_dir(here).stdout(Stdio::null());
    let mut stopped = spawn(interruptible(&mut command));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    send(stopped.id(), libc::SIGINT);
    assert!(!stopped.wait().unwrap().success());
    assert!(run.wait().unwrap().success());
    let watched = watching.wait_with_output().unwrap();
    assert!(watched.status.success());
    let text = stdout(&watched);
    assert!(text.contains("works on it") && text.contains("run: finished"), "{text}");
    assert!(text.contains("Loss so far") && text.contains("ours-seed0"), "{text}");
}

#[test]
fn events_are_written_beside_the_run_if_they_are_wanted() {
    let folder = folder();
    let here = folder.path();
    let args = |out| run_args(out, &["--methods", "Ours", "--tensorboard", "--pretrain-only"]);
    succeeded(&eqr(here, &args("run")));
    let place = here.join("run/tensorboard/ours-seed0");
    let files: Vec<_> = std::fs::read_dir(&place).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    let bytes = std::fs::read(files[0].path()).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("brain.Event:2") && holds("loss") && holds("terms/") && holds("gradient norm"));
    assert!(!tiny_run().join("tensorboard").exists(), "nobody wanted them");
    // something is in the way: it is said, and the run goes on
    std::fs::remove_dir_all(here.join("run/tensorboard")).unwrap();
    std::fs::remove_dir_all(here.join("run/cells")).unwrap();
    std::fs::remove_dir_all(here.join("run/checkpoints")).unwrap();
    std::fs::write(here.join("run/tensorboard"), "a file").unwrap();
    std::fs::create_dir(here.join("run/cells")).unwrap();
    let again = eqr(here, &args("run"));
    succeeded(&again);
    assert!(stderr(&again).contains("note: no events for TensorBoard"), "{}", stderr(&again));
}
