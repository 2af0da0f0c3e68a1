//! ONNX models are encoders: their outputs are those of PyTorch, every command takes them, and what cannot be
//! used is refused with its reason. The models and PyTorch's outputs are from
//! [onnx_models.py](../../../scripts/reference/onnx_models.py).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use eqr_bench::encoder::frozen::FrozenEncoder;
use eqr_bench::encoder::representation::FeatureEncoder;
use eqr_bench::run_folder::safetensors;
use eqr_bench::suite_file::encoder_options::{EncoderOptions, Readout};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::common::{
    PROGRAM, cell, eqr, folder, is_refusal, output, photographs, run_args, stderr, succeeded,
};
use crate::segmentation::{plain_pack, quick};
use crate::skip::skip;

/// Largest allowed difference, as a fraction of the largest value.
const TOLERANCE: f64 = 1e-5;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(name)
}

fn open(name: &str, options: EncoderOptions) -> anyhow::Result<FrozenEncoder> {
    FrozenEncoder::open(&model(name), &options, None, Device::Cpu)
}

fn with_key(key: &str) -> EncoderOptions {
    EncoderOptions { key: Some(key.to_owned()), ..EncoderOptions::default() }
}

/// Whether this build has ONNX and this machine ONNX Runtime. Skips the test if not.
fn has_onnx() -> bool {
    let opened = open("fixed.onnx", EncoderOptions::default());
    let Err(error) = opened else { return true };
    let text = format!("{error:#}");
    let is_missing = text.contains("was not found") || text.contains("this build has no ONNX");
    assert!(is_missing && text.contains("hint:"), "{text}");
    skip("onnx", "no ONNX Runtime (pip install onnxruntime, or EQR_ONNXRUNTIME), or built without ONNX");
    false
}

fn expected(name: &str) -> Tensor {
    let bytes = std::fs::read(model("expected.safetensors")).unwrap();
    safetensors::decode(&bytes).unwrap().0.remove(name).unwrap()
}

fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let difference = (found - expected).abs().max().double_value(&[]);
    difference / expected.abs().max().double_value(&[])
}

fn architecture(encoder: &FrozenEncoder) -> &str {
    &encoder.opened().unwrap().description.architecture.value
}

#[test]
fn outputs_are_those_of_pytorch() {
    if !has_onnx() {
        return;
    }
    let images = expected("images");
    // tokens, of which the class token comes first
    let tokens = expected("tokens");
    let class = open("tower.onnx", with_key("tokens")).unwrap();
    assert!(difference(&class.represent(&images).unwrap().y, &tokens.select(1, 0)) < TOLERANCE);
    assert!(difference(&class.tokens(&images).unwrap(), &tokens) < TOLERANCE);
    assert_eq!((architecture(&class), class.side()), ("ONNX model", 16));
    let options = EncoderOptions { readout: Some(Readout::Mean), ..with_key("tokens") };
    let mean = open("tower.onnx", options).unwrap().represent(&images).unwrap().y;
    let patches = tokens.narrow(1, 1, 16).mean_dim([1i64].as_slice(), false, None);
    assert!(difference(&mean, &patches) < TOLERANCE);
    // features, by the name of the output
    let pooled = open("tower.onnx", with_key("pooled")).unwrap();
    assert!(difference(&pooled.represent(&images).unwrap().y, &expected("pooled")) < TOLERANCE);
    // a map, of images of any size
    let options = EncoderOptions { size: Some(16), ..EncoderOptions::default() };
    let map = open("map.onnx", options).unwrap();
    assert!(difference(&map.token_maps(&images).unwrap()[0], &expected("map")) < TOLERANCE);
    assert_eq!(map.represent(&images).unwrap().grid.unwrap().size(), [5, 8 * 5]);
    assert_eq!(open("map.onnx", EncoderOptions::default()).unwrap().side(), 224);
    // two images at a time
    let fixed = open("fixed.onnx", EncoderOptions::default()).unwrap();
    assert_eq!(architecture(&fixed), "ONNX model (traced for batches of 2)");
    assert!(difference(&fixed.represent(&images).unwrap().y, &expected("features")) < TOLERANCE);
    // half precision, against PyTorch in float32
    let half = open("half.onnx", EncoderOptions::default()).unwrap();
    assert_eq!(architecture(&half), "ONNX model (takes Half images)");
    assert!(difference(&half.represent(&images).unwrap().y, &expected("half")) < 1e-2);
}

#[test]
fn models_that_cannot_be_used_are_refused() {
    if !has_onnx() {
        return;
    }
    let refused = |path: &Path, options: EncoderOptions, says: &[&str]| {
        let opened = FrozenEncoder::open(path, &options, None, Device::Cpu);
        let text = format!("{:#}", opened.err().unwrap_or_else(|| panic!("{} is used", path.display())));
        for part in says {
            assert!(text.contains(part), "{}: should say `{part}`: {text}", path.display());
        }
    };
    let of_size = |size| EncoderOptions { size: Some(size), ..EncoderOptions::default() };
    let plain = EncoderOptions::default;
    refused(&model("bytes.onnx"), plain(), &["images (Tensor<u8>(batch, 3, 16, 16))", "float32 or float16"]);
    refused(&model("channels-last.onnx"), plain(), &["16, 16, 3", "expected images (N, 3, S, S)", "hint:"]);
    refused(&model("flat.onnx"), plain(), &["768", "expected images (N, 3, S, S)"]);
    refused(&model("unknown-operator.onnx"), plain(), &["my.domain:Fold", "hint:", "TorchScript"]);
    refused(&model("tower.onnx"), plain(), &["--key tokens: [4, 17, 8]", "--key pooled: [4, 8]"]);
    refused(&model("tower.onnx"), with_key("last"), &["--key last", "--key pooled"]);
    refused(&model("fixed.onnx"), of_size(32), &["fails on images [2, 3, 32, 32]", "the model has 16"]);
    let heads = EncoderOptions { heads: Some(2), ..EncoderOptions::default() };
    refused(&model("tower.onnx"), heads, &["--heads, --act, --eps"]);
    let cls = EncoderOptions { readout: Some(Readout::Cls), ..of_size(16) };
    refused(&model("map.onnx"), cls, &["no class token"]);
    // files that are no models
    let folder = folder();
    let written = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let whole = std::fs::read(model("tower.onnx")).unwrap();
    // the beginning shows the format, whatever the name
    refused(&written("cut.bin", &whole[..whole.len() / 2]), plain(), &["cannot load it", "did not finish"]);
    refused(
        &written("noise.onnx", &[0xf7, 0x00, 0x13].repeat(100)),
        plain(),
        &["cannot load it", "no ONNX model"],
    );
    refused(&written("page.onnx", b"<!DOCTYPE html><html></html>"), plain(), &["HTML page"]);
    refused(&written("empty.onnx", b""), plain(), &["empty file"]);
}

#[test]
fn every_command_takes_a_model() {
    if !has_onnx() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    photographs(here);
    std::fs::copy(model("map.onnx"), here.join("map.onnx")).unwrap();
    let on_photos = |command: &str, more: &[&str]| {
        let args = [command, "--encoder", "map.onnx", "--data", "photos.h5", "--size=16", "--threads=1"];
        let output = eqr(here, &[&args, more].concat());
        succeeded(&output);
        output
    };
    let pairs = ["--train-pairs=100", "--test-pairs=54", "--transforms=color"];
    let short = ["--epochs=5", "--hidden=8", "--seeds=1", "--json", "--readout", "attentive"];
    let probed = on_photos("probe", &[&pairs[..], &short].concat());
    let probed: Value = serde_json::from_slice(&probed.stdout).unwrap();
    let color = &probed["targets"]["color"];
    assert!(color["linear"]["r2_per_output"].as_f64().unwrap() > 0.1, "{probed}");
    assert!(color["attentive"].is_object() && probed["targets"]["color_grid"].is_object(), "{probed}");
    assert!(color["random_weights"].is_null(), "a model cannot be built anew");
    let transferred: Value = serde_json::from_slice(&on_photos("transfer", &["--json"]).stdout).unwrap();
    assert!(transferred["top1"].as_f64().unwrap() > 0.5, "three hues, chance 1/3: {transferred}");
    assert!(stderr(&on_photos("xray", &pairs)).contains("shows its output alone"));
    let args = run_args("run", &["--methods", "Random init", "--external", "Map=map.onnx"]);
    succeeded(&eqr(here, &args));
    let encoder = &cell(&here.join("run"), "probe-external-map")["encoder"];
    assert_eq!(encoder["architecture"]["value"], "ONNX model", "{encoder}");
}

/// Whatever the machine has, a library that is named is the one that is used.
#[test]
fn a_library_that_cannot_be_used_is_named() {
    if !cfg!(feature = "onnx") {
        return skip("onnx", "built without ONNX");
    }
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let with = |library: &Path| -> Output {
        let model = model("map.onnx");
        let args = ["transfer", "--data", "photos.h5", "--size=16", "--encoder"];
        let mut command = Command::new(PROGRAM);
        output(command.args(args).arg(model).env("EQR_ONNXRUNTIME", library).current_dir(here))
    };
    is_refusal(&with(Path::new("/absent/lib.so")), &["EQR_ONNXRUNTIME=/absent/lib.so", "hint: pip install"]);
    let other = here.join("photos.h5");
    is_refusal(&with(&other), &["photos.h5", "does not load", "hint:"]);
}

/// A head on the map of a model learns the scenes, as one on a TorchScript module does.
#[test]
fn a_head_is_trained_on_a_map() {
    if !has_onnx() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    plain_pack(here);
    let map = model("map.onnx").display().to_string();
    let miou = |steps: &str| -> f64 {
        let segmented = eqr(here, &quick(&["--encoder", &map, "--seeds", "1", "--steps", steps]));
        succeeded(&segmented);
        let text = String::from_utf8(segmented.stdout).unwrap();
        let miou = text.strip_prefix("mIoU ").and_then(|rest| rest.split_whitespace().next());
        miou.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    };
    let [untrained, trained] = ["1", "80"].map(miou);
    assert!(trained > untrained + 0.2, "{untrained} {trained}");
}
