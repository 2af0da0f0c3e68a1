//! `probe --readout attentive`: a probe that learns to pool tokens stands beside those that read features,
//! for every kind of encoder that has tokens; the others are refused.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tch::Tensor;

use crate::common::{
    colour_map, copy, eqr, folder, is_refusal, photographs, stderr, succeeded, tiny_run, traced,
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
    // a pooling that is learned for each target is no feature
    let transfer =
        ["transfer", "--encoder", "map.pt", "--data", "photos.h5", "--size=16", "--readout", "attentive"];
    let output = eqr(here, &transfer);
    is_refusal(&output, &["--readout attentive", "eqr-bench probe"]);
    assert!(stderr(&output).contains("hint:"));
}
