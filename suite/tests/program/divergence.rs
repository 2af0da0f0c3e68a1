//! A training that diverges stops and reports the step. The other cells go on.

use std::path::Path;

use crate::common::{copy, eqr, eqr_ranks, folder, has_mpi, run_args, stderr, succeeded, tiny_run};

/// A run of two rows; `Ours` diverges at this learning rate.
fn args(lr: &str) -> [&str; 14] {
    let methods = ["--methods", "Random init,Ours", "--precision", "fp32"];
    let [a, b, c, d] = methods;
    [
        "run",
        "tiny.toml",
        "--out",
        "run",
        "--threads",
        "1",
        a,
        b,
        c,
        d,
        "--set",
        "train.epochs=200",
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
    assert!(step > 0 && report["terms"].is_object() && !report["parameter_norm"].is_null(), "{report}");
    let named = !report["not_finite"].as_array().unwrap().is_empty();
    assert!(named || report["gradient_norm"].is_string(), "{report}");
    assert!(!run.join("cells/pretrain-ours-seed0.json").exists());
    assert!(run.join("cells/probe-random-init-seed0.json").exists(), "the other cells went on");
    assert!(run.join("metrics.csv").exists(), "what is there is reported");
}

#[test]
fn a_retry_goes_on_from_the_last_good_checkpoint() {
    let folder = folder();
    let run = folder.path().join("run");
    // the gradient's norm overflows after some epochs
    for _ in 0..2 {
        let output = eqr(folder.path(), &args("train.lr=1e3"));
        check(&run, output.status.code(), &stderr(&output));
        let good =
            report(&run)["last_good_checkpoint"].as_str().expect("it survives the first epoch").to_owned();
        assert!(folder.path().join(good).join("manifest.json").exists());
    }
    // only the first call logs the first epoch
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first: Vec<_> = lines.iter().filter(|line| line["epoch"] == 1).collect();
    assert_eq!(first.len(), 1, "{log}");
    assert!(
        first[0]["y"]["effective_rank"].as_f64().is_some_and(|rank| (1.0..=25.0).contains(&rank)),
        "{log}"
    );
    assert!(first[0]["y"]["embedding_std"].as_f64().is_some_and(|std| std > 0.0), "{log}");
    let point = lines.iter().find(|line| line["terms"].is_object()).expect("a point of the curve");
    assert!(
        point["gradient_norm"].as_f64().is_some_and(|norm| norm > 0.0)
            && point["terms"]["variance"].is_number()
    );
    assert_eq!(lines.iter().filter(|line| line["diverged"].is_object()).count(), 2);
}

#[test]
fn nothing_survives_the_first_steps_and_nothing_is_there_to_report() {
    let folder = folder();
    let output = eqr(
        folder.path(),
        &["run", "tiny.toml", "--out", "run", "--methods", "Ours", "--set", "train.lr=1e30"],
    );
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("error: diverged: pretrain-ours-seed0"), "{text}");
    assert!(report(&folder.path().join("run"))["last_good_checkpoint"].is_null());
}

/// The training starts from a file with one NaN.
#[test]
fn a_planted_nan_stops_the_first_step() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("sound"));
    succeeded(&eqr(
        here,
        &["export", "sound", "--method", "Ours", "--seed", "0", "--out", "encoder.safetensors"],
    ));
    let mut bytes = std::fs::read(here.join("encoder.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(here.join("encoder.safetensors"), bytes).unwrap();
    let output =
        eqr(here, &run_args("run", &["--methods", "Ours", "--set", "train.init=\"encoder.safetensors\""]));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("diverged at step 1") && text.contains("is NaN") && !text.contains("panicked"),
        "{text}"
    );
    let report = report(&here.join("run"));
    assert_eq!((&report["step"], &report["gradient_norm"]), (&1.into(), &"NaN".into()), "{report}");
    assert!(!report["not_finite"].as_array().unwrap().is_empty() && report["last_good_checkpoint"].is_null());
}

#[test]
fn two_ranks_stop_at_the_same_step() {
    let folder = folder();
    if !has_mpi() {
        return;
    }
    let output = eqr_ranks(folder.path(), 2, &args("train.lr=1e3"));
    check(&folder.path().join("run"), output.status.code(), &stderr(&output));
}
