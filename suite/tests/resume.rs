//! An interrupted run, started again, ends with the metrics of an uninterrupted one.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{PROGRAM, cell, eqr, folder, succeeded};

#[test]
fn killed_after_a_finished_epoch_and_run_again_gives_the_same_metrics() {
    let folder = folder();
    // enough epochs to be hit in the middle
    let args = |out| ["run", "tiny.toml", "--out", out, "--threads", "1", "--set", "train.epochs=120"];
    succeeded(&eqr(folder.path(), &args("whole")));

    let mut child = Command::new(PROGRAM)
        .args(args("cut"))
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = folder.path().join("cut/checkpoints/ours-seed0/last.safetensors");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !checkpoint.exists() {
        assert!(Instant::now() < deadline, "no checkpoint appeared");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("cut/cells/pretrain-ours-seed0.json").exists(), "killed before the end");

    succeeded(&eqr(folder.path(), &args("cut")));
    let read = |run: &str| std::fs::read_to_string(folder.path().join(run).join("metrics.csv")).unwrap();
    assert_eq!(read("whole"), read("cut"));
    let (whole, cut) = (
        cell(&folder.path().join("whole"), "pretrain-ours-seed0"),
        cell(&folder.path().join("cut"), "pretrain-ours-seed0"),
    );
    assert_eq!(whole["curve"], cut["curve"]);
    assert_eq!((&whole["resumed"], &cut["resumed"]), (&false.into(), &true.into()));

    // a third call finds nothing to do and prints the same tables
    let before = std::fs::metadata(folder.path().join("cut/cells/probe-ours-seed0.json")).unwrap().modified().unwrap();
    succeeded(&eqr(folder.path(), &args("cut")));
    let after = std::fs::metadata(folder.path().join("cut/cells/probe-ours-seed0.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}
