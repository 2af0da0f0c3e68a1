//! `probe` and `transfer` on encoders in every file format. One encoder gives the same numbers in each
//! format. An encoder that cannot be used is refused with a reason and a hint.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{
    colour_map, copy, eqr, folder, is_refusal, photographs, stderr, succeeded, tiny_run, traced,
};

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
    copy(tiny_run(), &here.join("run"));
    succeeded(&eqr(here, &["export", "run", "--method", "Ours", "--out", "ours.safetensors"]));
    let newest = json(&probe(here, "run/checkpoints/ours-seed0", &[]));
    assert_eq!(newest, json(&probe(here, "run/checkpoints/ours-seed0/step-21", &[])));
    assert_eq!(newest, json(&probe(here, "ours.safetensors", &[])));
    for target in ["color", "flip"] {
        for probe in ["mlp", "linear", "constant"] {
            assert!(
                newest["targets"][target][probe]["r2_per_output"].is_number(),
                "{target} {probe}: {newest}"
            );
        }
    }
    // the normalisation of the training is used: another one gives other features
    let other = json(&probe(here, "ours.safetensors", &["--mean", "0,0,0", "--std", "1,1,1"]));
    assert_ne!(newest, other);
    // the floor: the same architecture with random weights, which the weights of the file do not change
    let floor = |of: &Value| of["targets"]["color"]["random_weights"]["mlp"]["r2_per_output"].clone();
    assert!(
        floor(&newest).is_number() && floor(&newest) != newest["targets"]["color"]["mlp"]["r2_per_output"]
    );
    assert!(floor(&json(&probe(here, "ours.safetensors", &["--no-floor"]))).is_null());
    // halves of y, and measures without a probe
    let halves = json(&probe(here, "ours.safetensors", &["--parts", "all,equi"]));
    assert_eq!(halves["targets"]["color"], newest["targets"]["color"]);
    assert!(halves["targets"]["color_equi"]["linear"]["r2_per_output"].is_number(), "{halves}");
    assert!(newest["representation"]["effective_rank"].as_f64().unwrap() >= 1.0, "{newest}");
    // pairs of renders are two views of an object; rotations are probed twice
    let solids = "run/data/solids.h5";
    let mut args = vec!["probe", "--encoder", "ours.safetensors", "--data", solids];
    args.extend(PROBE.iter().filter(|&&arg| arg != "--transforms" && arg != "color,flip"));
    let renders = json(&eqr(here, &args));
    let targets: Vec<&String> = renders["targets"].as_object().unwrap().keys().collect();
    assert_eq!(targets, ["color", "color_grid", "rotation", "rotation_canonical", "rotation_grid"]);
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
    assert!(of_map["targets"]["color"]["random_weights"].is_null(), "a module cannot be built anew");
    // but its author can write random weights beside it
    traced(&here.join("map.random.pt"), 16, |images| colour_map(&images.flip([1])));
    let with_floor = json(&probe(here, "map.pt", &size));
    assert_eq!(with_floor["targets"]["color"]["linear"], of_map["targets"]["color"]["linear"]);
    assert!(with_floor["targets"]["color"]["random_weights"]["linear"]["r2_per_output"].is_number());
    assert!(json(&transfer(here, "map.pt", &size))["random_weights"]["top1"].is_number());
    std::fs::write(here.join("map.random.pt"), "no module").unwrap();
    let refused = transfer(here, "map.pt", &size);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("map.random.pt: neither a file of weights nor"),
        "{}",
        stderr(&refused)
    );
    std::fs::remove_file(here.join("map.random.pt")).unwrap();
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
    // a traced module may take images of one side only
    assert_eq!(json(&transfer(here, "features.pt", &["--size", "20"]))["top1"].as_f64(), Some(1.0));
}

/// The classes are hues: a third of a turn exchanges them, and the mean color of an image does not turn.
#[test]
fn shifted_test_images_are_classified_by_the_same_regression() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("features.pt"), 20, |images| {
        colour_map(images).mean_dim([2i64, 3].as_slice(), false, None)
    });
    let found = |shift: &[&str]| json(&transfer(here, "features.pt", &[&["--size", "20"], shift].concat()));
    let plain = found(&[]);
    assert!(plain["shifted"].is_null());
    for (shift, is_right) in [("rotation=90..135", true), ("hue=0.33..0.34", false)] {
        let shifted = found(&["--shift", shift]);
        assert_eq!(shifted["top1"], plain["top1"], "the ordinary images stay as they are");
        let top1 = shifted["shifted"]["top1"].as_f64().unwrap();
        assert!(if is_right { top1 > 0.9 } else { top1 < 0.1 }, "{shift}: {shifted}");
        let [low, high] = [0, 1].map(|end| shifted["shifted"]["ci95"]["top1"][end].as_f64().unwrap());
        assert!(low <= top1 && top1 <= high, "{shifted}");
    }
    let refused = transfer(here, "features.pt", &["--size", "20", "--shift", "hue=0.4..0.9"]);
    is_refusal(&refused, &["hue = [0.4, 0.9]: expected [low, high]"]);
}

/// Anybody can check a transfer: the written features give its numbers again.
#[test]
fn features_of_a_transfer_can_be_written_and_read_again() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let write = ["--size", "16", "--write-features", "f.h5"];
    let written = json(&transfer(here, "map.pt", &write));
    let read = json(&eqr(here, &["transfer", "--features", "f.h5", "--threads", "1", "--json"]));
    for key in ["top1", "mean_per_class", "lambda", "knn", "grid", "ci95"] {
        assert_eq!(written[key], read[key], "{key}");
    }
    let file = hdf5::File::open(here.join("f.h5")).unwrap();
    let shape = |name: &str| file.dataset(name).unwrap().shape();
    // a tenth of the 72 training images is set aside
    assert_eq!(
        [shape("train/features"), shape("val/features"), shape("test/features")],
        [[65, 8], [7, 8], [27, 8]]
    );
    assert_eq!(shape("test/labels"), [27]);
    is_refusal(&transfer(here, "map.pt", &write), &["f.h5", "an existing file", "--force"]);
    json(&transfer(here, "map.pt", &[&write[..], &["--force"]].concat()));
    is_refusal(
        &transfer(here, "map.pt", &["--size", "16", "--write-features", "absent/f.h5"]),
        &["absent/f.h5", "No such file"],
    );
}

/// No input changes later features, to the last bit, and the file of the encoder stays the same.
#[test]
fn what_an_encoder_has_seen_does_not_change_it() {
    use eqr_bench::encoder::frozen::FrozenEncoder;
    use eqr_bench::encoder::representation::FeatureEncoder;
    use eqr_bench::suite_file::encoder_options::EncoderOptions;
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    traced(&here.join("map.pt"), 16, colour_map);
    let checkpoint = "run/checkpoints/ours-seed0/step-21";
    let images = |salt: i64| {
        let count = 5 * 3 * 16 * 16;
        (Tensor::arange(count, (Kind::Float, Device::Cpu)) * (0.1 + salt as f64)).sin().view([5, 3, 16, 16])
            * salt as f64
    };
    for file in [checkpoint, "map.pt"] {
        let options =
            EncoderOptions { mean: Some([0.5; 3]), std: Some([0.5; 3]), ..EncoderOptions::default() };
        let frozen = FrozenEncoder::open(&here.join(file), &options, Some(16), Device::Cpu).unwrap();
        let of =
            |salt| (frozen.represent(&images(salt)).unwrap().y, frozen.token_maps(&images(salt)).unwrap());
        let (y, maps) = of(1);
        for salt in 2..6 {
            let _ = of(salt);
        }
        let (again, maps_again) = of(1);
        assert!(y.equal(&again) && maps.iter().zip(&maps_again).all(|(a, b)| a.equal(b)), "{file}");
    }
    let parameters = here.join(checkpoint).join("parameters.safetensors");
    let before = std::fs::read(&parameters).unwrap();
    photographs(here);
    json(&probe(here, checkpoint, &[]));
    json(&transfer(here, checkpoint, &[]));
    assert!(before == std::fs::read(&parameters).unwrap());
}

/// Features that depend on more than the image: on the rest of the batch, as with batch norm in training
/// mode, or on chance.
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
        [("batch-norm.pt", "with a smaller batch"), ("noise.pt", "a second pass over the same images")]
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
    probe(
        "tiny.toml",
        &[],
        &["encoder tiny.toml", "neither a file of weights nor TorchScript or ONNX", "hint:"],
    );
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
    // parameters that are missing, have other shapes or do not belong to a plain ViT are listed
    let tensor = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let write = |file: &str, named: &[(&str, Tensor)]| {
        let named: Vec<(String, Tensor)> =
            named.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
        std::fs::write(here.join(file), eqr_bench::run_folder::safetensors::encode(&named, None).unwrap())
            .unwrap();
    };
    let vit = [
        ("patch_embed.proj.weight", tensor(&[64, 3, 4, 4])),
        ("pos_embed", tensor(&[1, 17, 64])),
        ("blocks.0.norm1.weight", tensor(&[32])),
        ("blocks.0.gamma_1", tensor(&[64])),
        ("head.weight", tensor(&[10, 64])),
    ];
    write("odd.safetensors", &vit);
    probe(
        "odd.safetensors",
        &["--heads", "2"],
        &[
            "encoder odd.safetensors",
            "blocks.0.attn.qkv.weight: missing, expected [192, 64]",
            "blocks.0.norm1.weight: has [32], expected [64]",
            "blocks.0.gamma_1: has [64], not read",
        ],
    );
    write("other.safetensors", &[("conv1.weight", tensor(&[64, 3, 7, 7]))]);
    probe(
        "other.safetensors",
        &[],
        &["no encoder whose parameter names this program knows", "conv1.weight: [64, 3, 7, 7]"],
    );
    probe("odd.safetensors", &["--size", "18", "--heads", "2"], &["images of 18 pixels", "--size"]);
    probe("good.pt", &["--size", "16", "--mean", "1,2"], &["--mean"]);
    probe("good.pt", &["--size", "16", "--mean", "0,0,0", "--std", "1,0,1"], &["--std", "must be above 0"]);
    probe("good.pt", &["--size", "0"], &["size = 0"]);
    refused(&["probe", "--encoder", "good.pt"], &["--data"]);
    refused(&["probe"], &["--features"]);
    refused(&["transfer", "--encoder", "good.pt", "--data", "absent.h5"], &["absent.h5"]);
    refused(
        &["transfer", "--encoder", "good.pt", "--size", "16", "--data", "photos.h5", "--crop-pct", "0"],
        &["crop_pct = 0"],
    );
    refused(
        &["transfer", "--encoder", "good.pt", "--size", "16", "--data", "photos.h5", "--few-shot", "5,23"],
        &["too few training images beside those held out", "draws of 23", "`class0` has 22"],
    );
    refused(
        &["transfer", "--encoder", "good.pt", "--size", "16", "--data", "photos.h5", "--val-fraction", "1"],
        &["val_fraction = 1"],
    );
}
