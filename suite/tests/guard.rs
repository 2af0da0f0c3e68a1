//! A training that diverges stops, says where, and does not take the other cells with it.

mod common;

use std::path::Path;

use common::{eqr, folder, mpirun, stderr};

/// Runs Ours and Supervised at a learning rate that Ours does not survive.
fn args<'a>(out: &'a str, lr: &'a str) -> [&'a str; 12] {
    [
        "run",
        "tiny.toml",
        "--out",
        out,
        "--threads",
        "1",
        "--precision",
        "fp32",
        "--methods",
        "Random init,Ours",
        "--set",
        lr,
    ]
}

fn report(run: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(run.join("failed/pretrain-ours-seed0.json")).expect("a report");
    serde_json::from_str(&text).unwrap()
}

fn check(run: &Path, code: Option<i32>, text: &str) {
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("diverged at step") && text.contains("pretrain-ours-seed0"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let report = report(run);
    let step = report["step"].as_u64().unwrap();
    let steps = report["batch"].as_array().unwrap();
    let mut units: Vec<u64> = steps.iter().map(|unit| unit.as_u64().unwrap()).collect();
    units.dedup();
    assert_eq!(units.len(), 25, "the global batch");
    assert!(step > 0 && report["terms"].is_object() && report["parameter_norm"].as_f64().is_some(), "{report}");
    let named = !report["not_finite"].as_array().unwrap().is_empty();
    assert!(named || report["gradient_norm"].is_string(), "{report}");
    assert!(!run.join("cells/pretrain-ours-seed0.json").exists());
    assert!(run.join("cells/probe-random-init-seed0.json").exists(), "the other cells went on");
    assert!(run.join("metrics.csv").exists(), "what is there is reported");
}

#[test]
fn one_process() {
    let folder = folder();
    let run = folder.path().join("run");
    for _ in 0..2 {
        let output = eqr(folder.path(), &args("run", "train.lr=1e30"));
        check(&run, output.status.code(), &stderr(&output));
        assert!(report(&run)["last_good_checkpoint"].is_null(), "it does not survive the first epoch");
    }
}

#[test]
fn two_ranks_stop_at_the_same_step() {
    let folder = folder();
    let Some(mut command) = mpirun(folder.path(), 2, &args("run", "train.lr=1e30")) else { return };
    let output = command.output().unwrap();
    check(&folder.path().join("run"), output.status.code(), &stderr(&output));
}
