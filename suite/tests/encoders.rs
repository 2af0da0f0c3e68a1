//! `probe` and `transfer` on encoders of every form, as a user calls them: one encoder gives the same numbers in each, and what cannot be
//! used is refused with what, where and what to do.

mod common;

use std::path::Path;
use std::process::Output;

use common::{colour_map, eqr, folder, photographs, stderr, succeeded, traced};
use serde_json::Value;
use tch::{Kind, Tensor};

const PROBE: [&str; 16] = [
    "--train-pairs",
    "80",
    "--test-pairs",
    "40",
    "--epochs",
    "4",
    "--hidden",
    "16",
    "--seeds",
    "1",
    "--transforms",
    "color,flip",
    "--threads",
    "1",
    "--json",
    "--batch=16",
];

fn json(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn probe(folder: &Path, encoder: &str, more: &[&str]) -> Output {
    let mut args = vec!["probe", "--encoder", encoder, "--data", "photos.h5"];
    args.extend(PROBE);
    args.extend(more);
    eqr(folder, &args)
}

fn transfer(folder: &Path, encoder: &str, more: &[&str]) -> Output {
    let mut args = vec!["transfer", "--encoder", encoder, "--data", "photos.h5", "--threads", "1", "--json"];
    args.extend(more);
    eqr(folder, &args)
}

#[test]
fn a_checkpoint_and_its_export_say_the_same() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let run = ["run", "tiny.toml", "--out", "run", "--threads", "1", "--precision", "fp32", "--methods", "Ours"];
    succeeded(&eqr(here, &run));
    succeeded(&eqr(here, &["export", "run", "--method", "Ours", "--out", "ours.safetensors"]));
    let newest = json(&probe(here, "run/checkpoints/ours-seed0", &[]));
    assert_eq!(newest, json(&probe(here, "run/checkpoints/ours-seed0/step-21", &[])));
    assert_eq!(newest, json(&probe(here, "ours.safetensors", &[])));
    for target in ["color", "flip"] {
        for probe in ["mlp", "linear", "constant"] {
            assert!(newest["targets"][target][probe]["r2_per_output"].is_number(), "{target} {probe}: {newest}");
        }
    }
    // what it was trained with is what it is given: another normalisation gives other features
    let other = json(&probe(here, "ours.safetensors", &["--mean", "0,0,0", "--std", "1,1,1"]));
    assert_ne!(newest, other);
    let accuracy = json(&transfer(here, "run/checkpoints/ours-seed0", &[]));
    assert_eq!(accuracy, json(&transfer(here, "ours.safetensors", &[])));
    assert!(accuracy["top1"].as_f64().unwrap() >= 0.5, "three hues, chance 1/3: {accuracy}");
}

#[test]
fn torchscript_gives_features_tokens_or_maps() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let mean = |map: &Tensor| map.mean_dim([2i64, 3].as_slice(), false, None);
    traced(&here.join("features.pt"), 16, |images| mean(&colour_map(images)));
    traced(&here.join("tokens.pt"), 16, |images| colour_map(images).flatten(2, 3).transpose(1, 2));
    let size = ["--size", "16"];
    let output = probe(here, "map.pt", &size);
    assert!(stderr(&output).contains("runs code of its author"), "{}", stderr(&output));
    let of_map = json(&output);
    assert!(of_map["targets"]["color"]["linear"]["r2_per_output"].as_f64().unwrap() > 0.1, "{of_map}");
    // linear probes of the same means, up to the order of additions
    for other in ["features.pt", "tokens.pt"] {
        let other = json(&probe(here, other, &size));
        for target in ["color", "flip"] {
            let r2 = |of: &Value| of["targets"][target]["linear"]["r2_per_output"].as_f64().unwrap();
            assert!((r2(&of_map) - r2(&other)).abs() < 1e-3, "{target}: {of_map} {other}");
        }
    }
    let top1 = json(&transfer(here, "map.pt", &size))["top1"].as_f64().unwrap();
    assert!(top1 > 0.9, "three hues: {top1}");
    // features of one side only, as a traced module may have
    assert_eq!(json(&transfer(here, "features.pt", &["--size", "20"]))["top1"].as_f64(), Some(1.0));
}

/// Frozen means frozen: a module in training mode, whose batch norm would learn from what it is measured on, is put into eval mode, and one that
/// was traced in it is refused.
#[test]
fn an_encoder_that_is_not_frozen_is_refused() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("batch-norm.pt"), 16, |images| {
        let x = colour_map(images).mean_dim([2i64, 3].as_slice(), false, None);
        (&x - x.mean_dim([0i64].as_slice(), true, None)) / (x.std_dim([0i64].as_slice(), true, true) + 1e-3)
    });
    traced(&here.join("noise.pt"), 16, |images| {
        let x = colour_map(images).mean_dim([2i64, 3].as_slice(), false, None);
        &x + x.rand_like()
    });
    for (file, says) in
        [("batch-norm.pt", "fewer images beside them"), ("noise.pt", "a second pass over the same images")]
    {
        let output = transfer(here, file, &["--size", "16"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("it is not frozen") && text.contains(says) && text.contains(file), "{text}");
    }
}

#[test]
fn encoders_that_cannot_be_used_are_refused() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let refused = |args: &[&str], says: &[&str]| {
        let output = eqr(here, args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(output.stdout.is_empty());
        for part in says {
            assert!(text.contains(part), "{args:?} should say `{part}`: {text}");
        }
    };
    let probe = |encoder: &str, more: &[&str], says: &[&str]| {
        let mut args = vec!["probe", "--encoder", encoder, "--data", "photos.h5"];
        args.extend(more);
        refused(&args, says);
    };
    probe("absent.pt", &[], &["encoder absent.pt", "No such file"]);
    probe("tiny.toml", &[], &["encoder tiny.toml", "neither a safetensors file nor TorchScript", "hint:"]);
    probe("photos", &[], &["encoder photos", "holds no checkpoint"]);
    std::fs::write(here.join("zip.pt"), b"PK\x03\x04 and no archive at all").unwrap();
    probe("zip.pt", &[], &["encoder zip.pt", "not a TorchScript module", "state dict"]);
    traced(&here.join("number.pt"), 16, |images| images.sum(Kind::Float));
    probe(
        "number.pt",
        &["--size", "16"],
        &["encoder number.pt", "returns [] for 4 images", "expected features (N, D)"],
    );
    traced(&here.join("rows.pt"), 16, |images| images.reshape([-1, 16]));
    probe("rows.pt", &["--size", "16"], &["encoder rows.pt", "returns ["]);
    traced(&here.join("integers.pt"), 16, |images| images.flatten(1, 3).to_kind(Kind::Int64));
    probe("integers.pt", &["--size", "16"], &["returns a tensor of Int64, expected floats"]);
    traced(&here.join("fixed.pt"), 16, |images| images.reshape([-1, 768]));
    probe("fixed.pt", &["--size", "20"], &["encoder fixed.pt", "the module"]);
    traced(&here.join("nan.pt"), 16, |images| images.flatten(1, 3).log() * f64::NAN);
    probe("nan.pt", &["--size", "16"], &["NaN or infinite"]);
    traced(&here.join("good.pt"), 16, colour_map);
    probe("good.pt", &["--size", "16", "--mean", "1,2"], &["--mean"]);
    probe("good.pt", &["--size", "16", "--mean", "0,0,0", "--std", "1,0,1"], &["--std", "must be above 0"]);
    probe("good.pt", &["--size", "0"], &["--size 0"]);
    refused(&["probe", "--encoder", "good.pt"], &["--data"]);
    refused(&["probe"], &["--features"]);
    refused(&["transfer", "--encoder", "good.pt", "--data", "absent.h5"], &["absent.h5"]);
    refused(
        &["transfer", "--encoder", "good.pt", "--size", "16", "--data", "photos.h5", "--crop-pct", "0"],
        &["crop_pct = 0"],
    );
    refused(
        &["transfer", "--encoder", "good.pt", "--size", "16", "--data", "photos.h5", "--val-fraction", "1"],
        &["val_fraction = 1"],
    );
}
