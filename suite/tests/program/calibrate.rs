//! `calibrate`: planted encoders go through the program, and what is planted comes out.

use std::path::Path;

use serde_json::Value;

use crate::common::{eqr, folder, is_refusal, photographs, run_args, succeeded};

/// Solids of 16 pixels: 320 training and 80 test objects.
const SOLIDS: [&str; 12] = [
    "data",
    "generate",
    "solids",
    "--out",
    "solids.h5",
    "--side",
    "16",
    "--objects",
    "25",
    "--views",
    "4",
    "--name=tiny",
];

const BUDGET: [&str; 16] = [
    "calibrate",
    "--data",
    "solids.h5",
    "--train-pairs",
    "1280",
    "--test-pairs",
    "640",
    "--hidden",
    "64",
    "--epochs",
    "40",
    "--features",
    "8",
    "--threads",
    "1",
    "--batch=128",
];

fn calibrated(here: &Path, more: &[&str]) -> Value {
    let output = eqr(here, &[&BUDGET[..], more].concat());
    succeeded(&output);
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn curve<'a>(found: &'a Value, key: [&str; 3]) -> &'a Value {
    let is_it = |curve: &&Value| [&curve["task"], &curve["plant"], &curve["probe"]] == key;
    found["curves"].as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{key:?}: {found}"))
}

/// What the probe reads where this R2 is planted.
fn read(curve: &Value, planted: f64) -> f64 {
    let readings = curve["readings"].as_array().unwrap();
    let reading = readings.iter().find(|reading| reading["planted"] == planted);
    reading.unwrap_or_else(|| panic!("{planted}: {curve}"))["r2_per_output"].as_f64().unwrap()
}

#[test]
fn what_is_planted_comes_out() {
    let folder = folder();
    let here = folder.path();
    succeeded(&eqr(here, &SOLIDS));
    let found = calibrated(here, &["--out", "curves", "--json"]);
    let plain = curve(&found, ["color", "plain", "linear"]);
    for planted in [0.0, 0.2, 0.5, 0.8, 1.0] {
        // what is confused is a share of 80 test objects
        let value = read(plain, planted);
        assert!((value - planted).abs() < 0.15, "{planted}: {value}");
    }
    assert!(read(plain, 1.0) > 0.999);
    // hues behind a random sign are for the MLP alone
    let [linear, mlp] = ["linear", "mlp"].map(|probe| curve(&found, ["color", "signed", probe]));
    assert!(read(linear, 1.0).abs() < 0.05 && read(mlp, 1.0) > 0.8, "{linear} {mlp}");
    assert!(linear["detection_limit"].is_null() && mlp["detection_limit"].as_f64().unwrap() <= 0.8, "{mlp}");
    // a pose is read through a product
    let [linear, mlp] = ["linear", "mlp"].map(|probe| read(curve(&found, ["rotation", "plain", probe]), 1.0));
    assert!(mlp > linear + 0.1 && mlp > 0.8, "{linear} {mlp}");
    let table = std::fs::read_to_string(here.join("curves/calibration.csv")).unwrap();
    assert_eq!(table.lines().next(), Some("task,plant,planted,probe,attainable,value,low,high"));
    assert_eq!(table.lines().count(), 1 + 9 * found["curves"].as_array().unwrap().len());
    assert!(std::fs::read(here.join("curves/calibration.png")).unwrap().starts_with(b"\x89PNG"));
    let output = eqr(here, &BUDGET);
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("color, signed plant, linear probe  not even 1"), "{text}");
}

#[test]
fn what_cannot_be_calibrated_is_said() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    is_refusal(
        &eqr(here, &["calibrate", "--data", "photos.h5"]),
        &["has photographs, expected renders", "hint: "],
    );
    is_refusal(&eqr(here, &["calibrate", "--features", "5"]), &["expected a number of at least 6"]);
}

#[test]
fn a_suite_calibrates_its_probes() {
    let folder = folder();
    let here = folder.path();
    let sets = ["--methods", "Random init", "--set", "probe.calibrate=true", "--set", "probe.seeds=1"];
    succeeded(&eqr(here, &run_args("out", &sets)));
    let output = eqr(here, &["report", "out", "--only", "calibration", "--format", "markdown"]);
    succeeded(&output);
    let table = String::from_utf8(output.stdout).unwrap();
    for part in
        ["color R2, linear probe", "| Planted (plain, 0.5)", "| Planted (signed, 1)", "Detection limit"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(here.join("out/figures/calibration.png").exists());
    let page = std::fs::read_to_string(here.join("out/report.html")).unwrap();
    assert!(page.contains("Calibration of the probes"), "the curves are in the page");
    let metrics = std::fs::read_to_string(here.join("out/metrics.csv")).unwrap();
    let absent = metrics.lines().filter(|line| line.contains("\"Planted (plain, 0)\",r2_per_output,"));
    assert_eq!(absent.count(), 2 * 19, "two tasks, as many encoders without the parameters");
    let refused = eqr(here, &run_args("small", &["--set", "probe.calibrate=true", "--set", "model.out=4"]));
    is_refusal(&refused, &["probe.calibrate", "model.out = 4"]);
}
