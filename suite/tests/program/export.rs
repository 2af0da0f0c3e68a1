//! Encoders are exported as safetensors with timm's parameter names, and reading them back gives the same
//! encoders.

use std::path::Path;

use eqr_bench::encoder::network::Network;
use eqr_bench::encoder::vit_file::VitParameters;
use eqr_bench::run_folder::safetensors;
use eqr_models::vit::{Pool, PositionInit, Vit, VitConfig};
use eqr_models::{Arena, Compute, Model, Registry};
use tch::{Device, Kind, Tensor};

use crate::common::{cell, copy, eqr, folder, run_args, stderr, succeeded, tiny_run};

/// The encoder of the tiny suite.
const TINY: VitConfig = VitConfig {
    image: 16,
    patch: 4,
    dim: 32,
    depth: 2,
    heads: 2,
    out: 32,
    pool: Pool::Split,
    positions: PositionInit::Timm,
};

fn encoder(config: VitConfig, seed: u64) -> Network {
    let mut registry = Registry::default();
    let encoder = Vit::new(&mut registry, config).unwrap();
    let arena = Arena::new(registry, seed, Compute::F32, Device::Cpu);
    Network { arena, model: Model { encoder, method: None } }
}

fn features(network: &Network) -> Vec<f32> {
    let side = network.model.encoder.config().image;
    let images =
        Tensor::arange(2 * 3 * side * side, (Kind::Float, Device::Cpu)).sin().view([2, 3, side, side]);
    let y = tch::no_grad(|| network.model.encoder.forward(&network.arena, &images).y);
    Vec::try_from(y.reshape([-1])).unwrap()
}

fn write(path: &Path, network: &Network, change: impl Fn(&str, Tensor) -> Option<Tensor>) {
    let named = network.arena.named(network.arena.master()).into_iter();
    let named: Vec<_> =
        named.filter_map(|(name, tensor)| Some((name.clone(), change(&name, tensor)?))).collect();
    std::fs::write(path, safetensors::encode(&named, None).unwrap()).unwrap();
}

#[test]
fn a_run_exports_what_its_checkpoint_holds_and_another_starts_from_it() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("run"));
    succeeded(&eqr(here, &["export", "run", "--method", "Ours", "--out", "encoder.safetensors"]));
    succeeded(&eqr(here, &["export", "run/checkpoints/ours-seed0/step-21", "--out", "again.safetensors"]));
    let bytes = std::fs::read(here.join("encoder.safetensors")).unwrap();
    let (named, metadata) = safetensors::decode(&bytes).unwrap();
    let (again, same) = safetensors::decode(&std::fs::read(here.join("again.safetensors")).unwrap()).unwrap();
    assert!(metadata == same && named.iter().all(|(name, tensor)| *tensor == again[name]));
    for (key, value) in [
        ("image", "16"),
        ("patch", "4"),
        ("dim", "32"),
        ("depth", "2"),
        ("heads", "2"),
        ("out", "32"),
        ("pool", "split"),
    ] {
        assert_eq!(metadata[key], value);
    }
    for name in [
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks.1.attn.qkv.weight",
        "norm.weight",
        "out.weight",
    ] {
        assert!(named.contains_key(name), "{name}");
    }
    assert!(!named.keys().any(|name| name.contains("g_") || name.contains("decoder")), "the encoder alone");

    // features from the file are those from the checkpoint, bit for bit
    let mut trained = encoder(TINY, 1);
    eqr_bench::run_folder::checkpoint::Checkpoint::open(&here.join("run/checkpoints/ours-seed0/step-21"))
        .and_then(|found| found.parameters())
        .map(|all| trained.arena.load(&all).unwrap())
        .unwrap();
    let mut started = encoder(TINY, 2);
    assert_ne!(features(&trained), features(&started));
    VitParameters::read(&here.join("encoder.safetensors")).unwrap().initialise(&mut started).unwrap();
    assert_eq!(features(&trained), features(&started));

    // a run that starts from it has another first loss; a changed file makes another configuration
    let second = run_args("second", &["--methods", "Ours", "--set", "train.init=encoder.safetensors"]);
    succeeded(&eqr(here, &second));
    let first_loss =
        |run: &str| cell(&here.join(run), "pretrain-ours-seed0")["curve"][0]["terms"]["loss"].clone();
    assert_ne!(first_loss("run"), first_loss("second"));
    write(&here.join("encoder.safetensors"), &encoder(TINY, 5), |_, tensor| Some(tensor));
    let output = eqr(here, &second);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("init: the folder has"), "{}", stderr(&output));
}

#[test]
fn what_does_not_fit_is_named_in_one_message() {
    let folder = folder();
    let here = folder.path();
    write(&here.join("odd.safetensors"), &encoder(TINY, 3), |name, tensor| match name {
        "blocks.1.norm1.weight" => None,
        "blocks.0.mlp.fc1.bias" => Some(tensor.narrow(0, 0, 5)),
        _ => Some(tensor),
    });
    let run = |init: &str| {
        let init = format!("train.init={init}");
        eqr(here, &["run", "tiny.toml", "--out", "run", "--methods", "Ours", "--set", &init])
    };
    let output = run("odd.safetensors");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "odd.safetensors",
        "blocks.1.norm1.weight: missing, expected [32]",
        "blocks.0.mlp.fc1.bias: has [5], expected [128]",
    ] {
        assert!(text.contains(part), "should say `{part}`: {text}");
    }
    assert!(!here.join("run/manifest.json").exists());
    std::fs::write(here.join("noise.safetensors"), [7u8; 400]).unwrap();
    for (file, says) in [
        ("absent.safetensors", "absent.safetensors"),
        ("noise.safetensors", "not a safetensors file"),
        ("tiny.toml", "expected a safetensors file, found a text file"),
    ] {
        let output = run(file);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    let output = eqr(here, &["export", "absent", "--out", "x.safetensors"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_vit_without_our_output_map_starts_a_larger_image() {
    let folder = folder();
    let file = folder.path().join("timm.safetensors");
    let source = encoder(TINY, 3);
    write(&file, &source, |name, tensor| (!name.starts_with("out.")).then_some(tensor));
    let larger = VitConfig { image: 32, ..TINY };
    let fitted = VitParameters::read(&file).unwrap().fitted(&larger).unwrap();
    assert_eq!(fitted["pos_embed"].size(), [1, 65, 32]);
    assert!(!fitted.contains_key("out.weight"));
    // interpolated positions of a constant are that constant
    write(&file, &source, |name, tensor| {
        Some(if name == "pos_embed" { tensor.ones_like() * 0.25 } else { tensor })
    });
    let fitted = VitParameters::read(&file).unwrap().fitted(&larger).unwrap();
    let positions: Vec<f32> = Vec::try_from(fitted["pos_embed"].reshape([-1])).unwrap();
    assert!(positions.iter().all(|value| (value - 0.25).abs() < 1e-6));
    let mut network = encoder(larger, 4);
    VitParameters::read(&file).unwrap().initialise(&mut network).unwrap();
    assert!(features(&network).iter().all(|value| value.is_finite()));
}
