//! `--readout attentive` of `probe` and `transfer`: what learns to pool tokens stands beside what reads
//! features, for every kind of encoder that has tokens; the others are refused.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tch::Tensor;

use crate::common::{
    cell, colour_map, copy, eqr, folder, is_refusal, photographs, run_args, stderr, succeeded, tiny_run,
    traced,
};

const SMALL: [&str; 15] = [
    "--train-pairs",
    "140",
    "--test-pairs",
    "54",
    "--epochs",
    "30",
    "--hidden",
    "16",
    "--batch=35",
    "--lr=3e-3",
    "--seeds",
    "2",
    "--threads",
    "1",
    "--json",
];

fn probe(folder: &Path, encoder: &str, data: &str, more: &[&str]) -> Output {
    let args = ["probe", "--encoder", encoder, "--data", data];
    eqr(folder, &[&args, &SMALL[..], more].concat())
}

fn targets(output: &Output) -> Value {
    succeeded(output);
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    all["targets"].clone()
}

fn r2(of: &Value) -> f64 {
    of["r2_per_output"].as_f64().unwrap_or_else(|| panic!("no R2: {of}"))
}

/// Where nothing says what is read, the quadrants of the map are probed too; `attentive` changes nothing
/// else.
#[test]
fn tokens_of_a_module_are_pooled_by_a_learned_query() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let module = |more: &[&str]| {
        let all = [&["--size", "16", "--transforms", "color,flip", "--combined"], more].concat();
        targets(&probe(here, "map.pt", "photos.h5", &all))
    };
    let (plain, attentive) = (module(&[]), module(&["--readout", "attentive"]));
    let names: Vec<&String> = attentive.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "color",
            "color_combined",
            "color_combined_grid",
            "color_grid",
            "flip",
            "flip_combined",
            "flip_combined_grid",
            "flip_grid"
        ]
    );
    for (name, probes) in attentive.as_object().unwrap() {
        assert_eq!(probes["mlp"], plain[name]["mlp"], "{name}");
        assert_eq!(probes["attentive"].is_null(), name.ends_with("_grid"), "{name}: {probes}");
        assert!(plain[name]["attentive"].is_null(), "{name}");
    }
    let color = &attentive["color"]["attentive"];
    assert!(r2(color) > 0.1 && color["seeds"].as_array().unwrap().len() == 2, "{color}");
    assert!(color["ci95"]["r2_per_output"].is_array(), "27 photographs: {color}");
    let named = module(&["--readout", "mean"]);
    assert!(named["color_grid"].is_null(), "an option names what is read: {named}");
    assert_eq!(named["color"], plain["color"]);
}

#[test]
fn published_and_own_encoders_have_tokens_and_a_floor() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    copy(tiny_run(), &here.join("run"));
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoders");
    let [vit, resnet] = ["timm-plain", "resnet-basic/resnet.pth"].map(|name| published.join(name));
    let short = ["--readout", "attentive"];
    let colour = [&short[..], &["--transforms", "color"]].concat();
    let found = [
        probe(here, vit.to_str().unwrap(), "photos.h5", &colour),
        probe(here, resnet.to_str().unwrap(), "photos.h5", &[&colour[..], &["--size", "64"]].concat()),
        probe(here, "run/checkpoints/ours-seed0", "photos.h5", &colour),
    ];
    for output in &found {
        let color = targets(output)["color"].clone();
        let [trained, floor] = [&color["attentive"], &color["random_weights"]["attentive"]].map(r2);
        assert!(trained.is_finite() && floor.is_finite() && trained != floor, "{color}");
    }
    // pairs of renders, drawn anew in each epoch; rotations with canonical signs too
    let renders = targets(&probe(here, "run/checkpoints/ours-seed0", "run/data/solids.h5", &short));
    for target in ["color", "rotation", "rotation_canonical"] {
        assert!(r2(&renders[target]["attentive"]).is_finite(), "{target}: {renders}");
    }
}

#[test]
fn what_has_no_tokens_or_too_many_is_refused() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    traced(&here.join("features.pt"), 16, |images| {
        colour_map(images).mean_dim([2i64, 3].as_slice(), false, None::<tch::Kind>) as Tensor
    });
    let attentive = ["--size", "16", "--transforms", "color", "--readout", "attentive"];
    let refused = |encoder: &str, more: &[&str], says: &[&str]| {
        is_refusal(&probe(here, encoder, "photos.h5", &[&attentive, more].concat()), says);
    };
    refused("features.pt", &[], &["--readout attentive", "returns features", "tokens (N, T, D)"]);
    refused("map.pt", &["--token-memory", "0.00001"], &["16 tokens of width 8", "--token-memory 1"]);
    let mean = ["--size", "16", "--readout", "mean", "--token-memory", "1"];
    is_refusal(&probe(here, "map.pt", "photos.h5", &mean), &["--token-memory"]);
    let classified = |encoder: &str, readout: &str, more: &[&str], says: &[&str]| {
        let output = transfer(here, encoder, &[&["--readout", readout], more].concat());
        is_refusal(&output, says);
        assert!(output.stdout.is_empty(), "{output:?}");
    };
    classified("features.pt", "attentive", &[], &["--readout attentive", "returns features", "hint:"]);
    let too_many = ["16 tokens of width 8 of 99 images", "--token-memory 1", "a smaller --size"];
    classified("map.pt", "attentive", &["--token-memory", "0.00001"], &too_many);
    classified("map.pt", "attentive", &["--epochs", "0"], &["--epochs 0"]);
    classified("map.pt", "mean", &["--epochs", "3"], &["--epochs", "--readout attentive", "hint:"]);
    classified("map.pt", "mean", &["--token-memory", "3"], &["--token-memory", "--readout attentive"]);
    // a pooling that is learned for each target is no feature
    let xray = ["xray", "--encoder", "map.pt", "--data", "photos.h5", "--size=16", "--readout", "attentive"];
    is_refusal(&eqr(here, &xray), &["--readout attentive", "hint:"]);
}

fn transfer(folder: &Path, encoder: &str, more: &[&str]) -> Output {
    let args = ["transfer", "--encoder", encoder, "--data", "photos.h5", "--size=16", "--threads", "1"];
    eqr(folder, &[&args, more].concat())
}

/// The classifier of tokens stands beside the logistic regression, which it does not change.
#[test]
fn transfer_classifies_tokens_beside_features() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let json = |more: &[&str]| -> Value {
        let output = transfer(here, "map.pt", &[&["--json"], more].concat());
        succeeded(&output);
        serde_json::from_slice(&output.stdout).expect("JSON on stdout")
    };
    let attentive = ["--readout", "attentive", "--epochs", "100"];
    let (plain, found) = (json(&[]), json(&attentive));
    assert!(plain["attentive"].is_null(), "{plain}");
    for unchanged in ["top1", "mean_per_class", "lambda", "knn", "grid", "ci95"] {
        assert_eq!(found[unchanged], plain[unchanged], "{unchanged}");
    }
    let of_tokens = &found["attentive"];
    // three colours, which every token has
    let top1 = of_tokens["top1"].as_f64().unwrap();
    assert!(top1 > 0.9 && of_tokens["mean_per_class"].as_f64().unwrap() > 0.9, "{of_tokens}");
    let interval = of_tokens["ci95"]["top1"].as_array().expect("27 test images");
    assert!(interval[0].as_f64().unwrap() <= top1 && top1 <= interval[1].as_f64().unwrap(), "{of_tokens}");
    let grid = of_tokens["grid"].as_array().unwrap();
    let chosen = grid.iter().find(|point| point["lr"] == of_tokens["lr"]).expect("a rate of the grid");
    let best = grid.iter().map(|point| point["val_top1"].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(chosen["val_top1"].as_f64(), Some(best), "{of_tokens}");
    assert_eq!(*of_tokens, json(&attentive)["attentive"], "the same seed");
    let text = transfer(here, "map.pt", &attentive);
    let lines = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(lines.contains(&format!("attentive classifier top1 {top1:.4} [")), "{lines}");
}

/// The encoders of this program and published ones have a floor, whose tokens are classified, too.
#[test]
fn transfer_of_tokens_has_a_floor() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    copy(tiny_run(), &here.join("run"));
    let own = ["transfer", "--encoder", "run/checkpoints/ours-seed0", "--data", "photos.h5", "--threads=1"];
    let output = eqr(here, &[&own[..], &["--readout=attentive", "--epochs=5", "--json"]].concat());
    succeeded(&output);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [own, floor] = [&found["attentive"], &found["random_weights"]["attentive"]]
        .map(|of| of["top1"].as_f64().unwrap_or_else(|| panic!("no accuracy: {found}")));
    assert!((0.0..=1.0).contains(&own) && (0.0..=1.0).contains(&floor), "{found}");
}

/// Rows with tokens get attentive probes, the same as the command's; the others are told.
#[test]
fn a_suite_trains_attentive_probes() {
    let folder = folder();
    let here = folder.path();
    let mean = |map: &Tensor| map.mean_dim([2i64, 3].as_slice(), false, None);
    traced(&here.join("means.pt"), 16, |images| mean(&colour_map(images)));
    let rows = ["--methods", "Ours,PCA of the pixels (8)", "--external", "Means=means.pt"];
    let more = ["--set", "probe.attentive=true", "--set", "probe.seeds=1"];
    let ran = eqr(here, &run_args("run", &[&rows[..], &more].concat()));
    succeeded(&ran);
    assert!(stderr(&ran).contains("rows: `Means`: no attentive probes"), "{}", stderr(&ran));
    let metrics = std::fs::read_to_string(here.join("run/metrics.csv")).unwrap();
    let of = |method: &str, task: &str| -> Vec<f64> {
        let wanted = format!(",{task},{method},r2_per_output_attentive,");
        let lines = metrics.lines().filter(|line| line.contains(&wanted));
        lines.map(|line| line.rsplit(',').find_map(|field| field.parse().ok()).unwrap()).collect()
    };
    assert!(of("PCA of the pixels (8)", "color").is_empty() && of("Means", "color").is_empty(), "{metrics}");
    assert_eq!(of("Ours", "color").len(), 1, "{metrics}");
    let table = eqr(here, &["report", "run", "--only", "attentive", "--format", "markdown"]);
    succeeded(&table);
    assert!(String::from_utf8_lossy(&table.stdout).contains("| Ours"), "{table:?}");
    // the same probe of the same pairs from the command line
    let args = [
        "probe",
        "--encoder",
        "run/checkpoints/ours-seed0",
        "--data",
        "run/data/solids.h5",
        "--no-floor",
        "--json",
    ];
    let budget =
        ["--train-pairs", "200", "--test-pairs", "100", "--epochs", "3", "--hidden", "16", "--seeds", "1"];
    let training = ["--batch", "64", "--lr", "1e-3", "--threads", "1", "--readout", "attentive"];
    let found = targets(&eqr(here, &[&args[..], &budget, &training].concat()));
    let cell = cell(&here.join("run"), "probe-ours-seed0");
    let is_it = |metric: &&Value| metric["task"] == "color" && metric["metric"] == "r2_per_output_attentive";
    let metric = cell["metrics"].as_array().unwrap().iter().find(is_it).unwrap();
    let difference = r2(&found["color"]["attentive"]) - metric["value"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{found} {metric}");
}
