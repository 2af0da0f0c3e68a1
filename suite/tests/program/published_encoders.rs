//! Published encoders give the features that the library computes which defines them: relative difference at
//! most 1e-5 in float32. The files are from
//! [published_encoders.py](../../../scripts/reference/published_encoders.py), with random weights.

use std::path::{Path, PathBuf};

use eqr_bench::encoder::frozen::FrozenEncoder;
use eqr_bench::encoder::representation::FeatureEncoder;
use eqr_bench::run_folder::safetensors;
use eqr_bench::suite_file::encoder_options::{EncoderOptions, Readout};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{cell, eqr, folder, run_args, succeeded};

/// Largest allowed difference, as a fraction of the largest feature.
const TOLERANCE: f64 = 1e-5;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoders")
}

/// Two images, whose values are sin(0.37 i).
fn images(side: i64) -> Tensor {
    (Tensor::arange(2 * 3 * side * side, (Kind::Float, Device::Cpu)) * 0.37).sin().view([2, 3, side, side])
}

/// What a case is opened with beyond its folder.
fn options(name: &str) -> EncoderOptions {
    let key = (name == "checkpoint").then(|| "teacher".to_owned());
    EncoderOptions { key, ..EncoderOptions::default() }
}

/// The folder of a case, or the file in it where its name is not one of a model hub's.
fn weights(folder: &Path) -> PathBuf {
    let own = ["checkpoint.pth", "dinov2.pth", "resnet.pth", "vit.pth"].map(|name| folder.join(name));
    own.into_iter().find(|path| path.is_file()).unwrap_or_else(|| folder.to_owned())
}

fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let difference = (found - expected).abs().max().double_value(&[]);
    difference / expected.abs().max().double_value(&[])
}

#[test]
fn every_layout_gives_the_features_of_its_library() {
    // small networks, beside other tests
    tch::set_num_threads(1);
    let mut cases = 0;
    let mut wrong = Vec::new();
    for folder in std::fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let (expected, _) = safetensors::decode(&bytes).unwrap();
        let images = images(expected["side"].double_value(&[0]) as i64);
        for (feature, readout) in [("class", Readout::Cls), ("mean", Readout::Mean)] {
            let options = EncoderOptions { readout: Some(readout), ..options(&name) };
            let opened = FrozenEncoder::open(
                &weights(&folder),
                &options,
                Some(images.size()[2] as usize),
                Device::Cpu,
            );
            let (encoder, expected) = match (opened, expected.get(feature)) {
                (Ok(encoder), Some(expected)) => (encoder, expected),
                (Err(_), None) => continue,
                (Ok(_), None) => {
                    wrong.push(format!("{name}: a class token where there is none"));
                    continue;
                }
                (Err(error), Some(_)) => {
                    wrong.push(format!("{name}: {error:#}"));
                    continue;
                }
            };
            let difference = difference(&encoder.represent(&images).unwrap().y, expected);
            cases += 1;
            if difference.is_nan() || difference > TOLERANCE {
                wrong.push(format!("{name}, {feature}: {difference:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases > 60, "{cases} cases");
}

/// The floor has the same architecture and other weights, whatever the architecture.
#[test]
fn published_encoders_have_a_floor_and_maps() {
    tch::set_num_threads(1);
    for (name, maps) in [("timm-registers", 2), ("hf-dinov3", 2), ("resnet-basic", 4), ("hf-convnextv2", 4)] {
        let folder = data().join(name);
        let encoder = FrozenEncoder::open(&weights(&folder), &options(name), Some(32), Device::Cpu).unwrap();
        let floor = encoder.untrained().unwrap().expect("an architecture that is built here");
        let images = images(32);
        let (trained, untrained) = (encoder.represent(&images).unwrap(), floor.represent(&images).unwrap());
        assert_eq!(trained.y.size(), untrained.y.size());
        assert!(difference(&untrained.y, &trained.y) > 1e-2, "{name}");
        let varies = (untrained.y.get(0) - untrained.y.get(1)).abs().max().double_value(&[]);
        assert!(varies > 1e-6, "{name}: the floor sees nothing of the images");
        assert_eq!(encoder.token_maps(&images).unwrap().len(), maps, "{name}");
    }
}

#[test]
fn what_several_models_may_have_is_asked_for() {
    let refusal = |name: &str, options: EncoderOptions| {
        let options = EncoderOptions { no_config: true, ..options };
        let opened = FrozenEncoder::open(&weights(&data().join(name)), &options, None, Device::Cpu);
        format!("{:#}", opened.err().expect("must be refused"))
    };
    let heads = || EncoderOptions { heads: Some(2), ..EncoderOptions::default() };
    assert!(refusal("timm-plain", EncoderOptions::default()).contains("--heads"));
    assert!(refusal("timm-clip", heads()).contains("--act quick_gelu"));
    assert!(refusal("hf-vit", heads()).contains("--eps 1e-12"));
    assert!(refusal("checkpoint", heads()).contains("--key teacher.module.backbone"));
    let mean = EncoderOptions { act: Some(eqr_models::layers::Activation::GeluTanh), ..heads() };
    let class = EncoderOptions { readout: Some(Readout::Cls), ..mean };
    assert!(refusal("timm-siglip", class).contains("no class token"));
    assert!(refusal("resnet-basic", heads()).contains("this is a ResNet"));
}

/// A folder of weights is a row of a run. The same call finds nothing to do.
#[test]
fn a_run_measures_a_folder_of_weights() {
    let folder = folder();
    let here = folder.path();
    let model = here.join("dinov2");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(data().join("hf-dinov2-registers")).unwrap().flatten() {
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let args = run_args("run", &["--methods", "Random init", "--external", "DINOv2=dinov2"]);
    succeeded(&eqr(here, &args));
    let encoder = &cell(&here.join("run"), "probe-external-dinov2")["encoder"];
    assert_eq!(encoder["architecture"]["value"], "Dinov2WithRegistersModel");
    let found = &encoder["found"]["value"];
    assert_eq!(found["left_out"], Value::from(vec!["embeddings.mask_token"]), "{found}");
    succeeded(&eqr(here, &args));
}
