//! `xray`: its heat maps, CSV, page and JSON agree with each other and with `probe`.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::common::{
    colour_map, copy, eqr, folder, is_refusal, photographs, run_args, stderr, succeeded, tiny_run, traced,
};

/// The budget of MLP probes.
const PERCEPTRONS: [&str; 6] = ["--epochs", "3", "--hidden", "4", "--seeds", "2"];

const PAIRS: [&str; 6] = ["--train-pairs", "100", "--test-pairs", "50", "--threads", "1"];

fn xray(folder: &Path, encoder: &str, data: &str, more: &[&str]) -> Output {
    let mut args = vec!["xray", "--encoder", encoder, "--data", data];
    args.extend(PAIRS);
    args.extend(more);
    eqr(folder, &args)
}

fn json(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

/// The reading of `place`, which is layer and tokens, over all outputs.
fn reading<'a>(xray: &'a Value, place: [&str; 2], measure: &str, task: Option<&str>) -> &'a Value {
    let is_it = |reading: &&Value| {
        [&reading["layer"], &reading["tokens"]] == place
            && reading["measure"] == measure
            && reading["task"].as_str() == task
            && reading["output"].is_null()
    };
    xray["readings"].as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("{place:?}: {xray}"))
}

/// What `probe` measures of the same pairs is what the X-ray reads at the output.
fn agrees_with_probe(folder: &Path, encoder: &str, data: &str, xray: &Value, tasks: &[&str]) {
    let mut args = vec!["probe", "--encoder", encoder, "--data", data, "--json", "--no-floor"];
    args.extend(PAIRS);
    args.extend(PERCEPTRONS);
    let names = tasks.join(",");
    if data == "photos.h5" {
        args.extend(["--transforms", &names]);
    }
    let probed = json(&eqr(folder, &args));
    for task in tasks {
        for (probe, measure) in [("linear", "r2_per_output_linear"), ("mlp", "r2_per_output")] {
            let probed = &probed["targets"][task][probe];
            let output = reading(xray, ["output", "features"], measure, Some(task));
            is_the_same(probed, output);
        }
    }
}

/// An R2 that `probe` prints, and its interval, are those of a reading.
fn is_the_same(probed: &Value, output: &Value) {
    let [expected, found] = [&probed["r2_per_output"], &output["value"]].map(|value| value.as_f64().unwrap());
    assert!((expected - found).abs() < 1e-6, "{probed} {output}");
    // a pack of few objects has no interval, here and there
    let ends = |value: &Value| value.as_array().map(|ends| [0, 1].map(|end| ends[end].as_f64().unwrap()));
    match (ends(&probed["ci95"]["r2_per_output"]), ends(&output["ci95"])) {
        (Some(expected), Some(found)) => {
            let close = expected.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(close, "{probed} {output}");
        }
        (expected, found) => assert_eq!(expected, found, "{probed} {output}"),
    }
}

#[test]
fn our_encoder_is_seen_layer_by_layer() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    copy(tiny_run(), &here.join("run"));
    let encoder = "run/checkpoints/ours-seed0";
    let tasks = ["color", "flip", "crop"];
    let both = [&["--probe", "both", "--json"][..], &PERCEPTRONS].concat();
    let transforms = ["--transforms", "color,flip,crop"];
    let seen = json(&xray(here, encoder, "photos.h5", &[&transforms[..], &both].concat()));
    agrees_with_probe(here, encoder, "photos.h5", &seen, &tasks);
    for layer in ["embedding", "block 1", "block 2"] {
        for tokens in ["class", "mean", "grid"] {
            for task in tasks {
                reading(&seen, [layer, tokens], "r2_per_output_linear", Some(task));
                reading(&seen, [layer, tokens], "r2_per_output", Some(task));
                reading(&seen, [layer, tokens], "sensitivity", Some(task));
            }
            reading(&seen, [layer, tokens], "knn_top1", None);
            reading(&seen, [layer, tokens], "effective_rank", None);
        }
    }
    // before any block, the class token is the same for all images
    let nothing = |measure, task| &reading(&seen, ["embedding", "class"], measure, task)["value"];
    assert_eq!(nothing("effective_rank", None), 0.0);
    assert!(nothing("sensitivity", Some("color")).is_null(), "{seen}");
    assert!(nothing("r2_per_output_linear", Some("color")).as_f64().unwrap() < 0.1);
    let moved = reading(&seen, ["block 2", "mean"], "sensitivity", Some("color"));
    assert!(moved["value"].as_f64().unwrap() > 0.0 && moved["ci95"].is_array(), "{moved}");
    // renders
    let seen = json(&xray(here, encoder, "run/data/solids.h5", &both));
    agrees_with_probe(here, encoder, "run/data/solids.h5", &seen, &["rotation", "color"]);
    // the other measures do not depend on the probes
    let alone = json(&xray(here, encoder, "run/data/solids.h5", &["--json"]));
    let mut rest = seen["readings"].as_array().unwrap().clone();
    rest.retain(|reading| reading["measure"] != "r2_per_output");
    let close = |(a, b): (&Value, &Value)| match (a["value"].as_f64(), b["value"].as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-5,
        (a, b) => a == b,
    };
    let expected = alone["readings"].as_array().unwrap();
    assert_eq!(rest.len(), expected.len());
    assert!(rest.iter().zip(expected).all(close), "{seen} {alone}");
}

#[test]
fn an_xray_is_printed_and_written() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    let encoder = "run/checkpoints/ours-seed0";
    let output = xray(here, encoder, "run/data/solids.h5", &["--out", "seen"]);
    succeeded(&output);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in
        ["R2 of each transformation", "Sensitivity", "nearest neighbours", "Effective rank", "block 2"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {text}");
    let table = std::fs::read_to_string(here.join("seen/xray.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("layer,tokens,measure,task,output,value,low,high"));
    let seen = json(&xray(here, encoder, "run/data/solids.h5", &["--json"]));
    assert_eq!(lines.count(), seen["readings"].as_array().unwrap().len());
    let output = reading(&seen, ["output", "features"], "r2_per_output_linear", Some("rotation"));
    let begins = format!("output,features,r2_per_output_linear,rotation,,{},", output["value"]);
    assert!(table.lines().any(|line| line.starts_with(&begins)), "{begins}: {table}");
    let page = std::fs::read_to_string(here.join("seen/xray.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("block 2"), "{page}");
    assert!(!page.contains("http"), "the page needs no network");
    // the files of an X-ray are replaced, other files are not
    succeeded(&xray(here, encoder, "run/data/solids.h5", &["--out", "seen"]));
    std::fs::write(here.join("seen/xray.csv"), "mine").unwrap();
    let output = xray(here, encoder, "run/data/solids.h5", &["--out", "seen"]);
    is_refusal(&output, &["xray.csv", "--force"]);
}

#[test]
fn what_cannot_be_seen_is_said() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    copy(tiny_run(), &here.join("run"));
    let encoder = "run/checkpoints/ours-seed0";
    let output = xray(here, encoder, "photos.h5", &["--transforms", "color,shear"]);
    is_refusal(&output, &["unknown transform `shear`: expected one of rotation"]);
    let output = xray(here, encoder, "run/data/solids.h5", &["--transforms", "color"]);
    is_refusal(&output, &["--transforms", "has renders"]);
    let output = xray(here, encoder, "run/data/solids.h5", &["--epochs", "3"]);
    is_refusal(&output, &["--epochs", "closed form", "--probe mlp"]);
    traced(&here.join("map.pt"), 16, colour_map);
    let output = xray(here, "map.pt", "photos.h5", &["--transforms", "color", "--json", "--size", "16"]);
    assert!(stderr(&output).contains("this module shows its output alone"), "{}", stderr(&output));
    let seen = json(&output);
    let layers: Vec<&Value> =
        seen["readings"].as_array().unwrap().iter().map(|reading| &reading["layer"]).collect();
    assert!(!layers.is_empty() && layers.iter().all(|layer| *layer == "output"), "{seen}");
    assert!(
        reading(&seen, ["output", "grid"], "r2_per_output_linear", Some("color"))["value"].is_number(),
        "{seen}"
    );
}

/// A module that returns several maps shows each of them; the last one is the output.
#[test]
fn several_maps_are_several_layers() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    // maps of 8 x 8 and of 4 x 4 pixels, which are means of the image
    let pyramid = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/modules/pyramid.pt");
    std::fs::copy(pyramid, here.join("maps.pt")).unwrap();
    let output = xray(here, "maps.pt", "photos.h5", &["--transforms", "color", "--json", "--size", "16"]);
    assert!(!stderr(&output).contains("shows its output alone"), "{}", stderr(&output));
    let seen = json(&output);
    let r2 = |place| reading(&seen, place, "r2_per_output_linear", Some("color"))["value"].as_f64().unwrap();
    for (inner, last) in [("mean", "features"), ("grid", "grid")] {
        let (inner, last) = (r2(["stage 1", inner]), r2(["output", last]));
        assert!((inner - last).abs() < 1e-4, "{seen}");
    }
    let is_second = |reading: &Value| reading["layer"] == "stage 2";
    assert!(!seen["readings"].as_array().unwrap().iter().any(is_second), "the output has it");
}

/// The section `[xray]` of a suite.
const SECTION: &str = "xray={train_pairs=100, test_pairs=50}";

#[test]
fn a_suite_takes_x_rays_of_its_rows() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("theirs"));
    let external = "Theirs=theirs/checkpoints/ours-seed0";
    let args = run_args("run", &["--methods", "Ours", "--external", external, "--set", SECTION]);
    let plan = eqr(here, &[&args[..], &["--dry-run"]].concat());
    succeeded(&plan);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(
        plan.lines().any(|line| line.starts_with("xray-ours-seed0  ") && line.contains("FLOP")),
        "{plan}"
    );
    assert!(plan.lines().any(|line| line.starts_with("xray-external-theirs  ")), "{plan}");
    succeeded(&eqr(here, &args));
    // the same numbers as the command's, and those of the same encoder from a file
    let cell = |id: &str| -> Value {
        serde_json::from_slice(&std::fs::read(here.join(format!("run/cells/{id}.json"))).unwrap()).unwrap()
    };
    let seen = json(&xray(here, "run/checkpoints/ours-seed0", "run/data/solids.h5", &["--json"]));
    for id in ["xray-ours-seed0", "xray-external-theirs"] {
        assert_eq!(cell(id)["kind"], "xray");
        assert_eq!(cell(id)["xray"]["readings"], seen["readings"], "{id}");
        let table = std::fs::read_to_string(here.join(format!("run/tables/{id}.csv"))).unwrap();
        assert_eq!(table.lines().count(), 1 + seen["readings"].as_array().unwrap().len());
    }
    assert_eq!(cell("xray-external-theirs")["encoder"]["features"]["value"], 32);
    let page = std::fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(page.contains("<h2>X-rays</h2>") && page.contains("<summary>Theirs</summary>"), "{page}");
    assert!(page.contains("<summary>Ours, pretraining seed 0</summary>"), "{page}");
    succeeded(&eqr(here, &["verify", "run"]));
    // a finished one is not taken again, and a lost one is
    let written =
        |id: &str| std::fs::metadata(here.join(format!("run/cells/{id}.json"))).unwrap().modified().unwrap();
    let before = written("xray-ours-seed0");
    std::fs::remove_file(here.join("run/cells/xray-external-theirs.json")).unwrap();
    succeeded(&eqr(here, &args));
    assert_eq!(cell("xray-external-theirs")["xray"]["readings"], seen["readings"]);
    assert_eq!(written("xray-ours-seed0"), before);
}

#[test]
fn a_section_that_says_too_much_is_refused() {
    let folder = folder();
    let refused = eqr(folder.path(), &run_args("run", &["--set", "xray={epochs=5}"]));
    is_refusal(&refused, &["xray.seeds, xray.epochs, xray.hidden", "hint: probe = \"mlp\""]);
    let refused = eqr(folder.path(), &run_args("run", &["--set", "xray={test_pairs=1}"]));
    is_refusal(&refused, &["xray.test_pairs = 1: must be at least 2"]);
}
