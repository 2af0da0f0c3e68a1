//! What an encoder is, is read from its file, from the configuration beside it or from options, and is said;
//! what could be one thing or another is asked for. A file that is no encoder gets its true reason.

use std::io::Write;
use std::path::Path;
use std::process::Output;

use eqr_bench::encoder::vit_file::parameter_shapes;
use eqr_bench::run_folder::safetensors;
use eqr_models::vit::{Pool, PositionInit, VitConfig};
use serde_json::{Value, json};
use tch::{CModule, Device, Kind, Tensor};

use crate::common::{cell, colour_map, eqr, folder, photographs, run_args, stderr, succeeded, traced};

const SMALL: [&str; 16] = [
    "--train-pairs",
    "40",
    "--test-pairs",
    "20",
    "--epochs",
    "1",
    "--hidden",
    "4",
    "--seeds",
    "1",
    "--transforms",
    "color",
    "--threads",
    "1",
    "--json",
    "--batch=16",
];

fn probe(folder: &Path, encoder: &str, more: &[&str]) -> Output {
    let mut args = vec!["probe", "--encoder", encoder, "--data", "photos.h5"];
    args.extend(SMALL);
    args.extend(more);
    eqr(folder, &args)
}

fn json_of(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn refused(output: &Output, says: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in says {
        assert!(text.contains(part), "should say `{part}`: {text}");
    }
}

/// Writes a plain ViT with timm's names of this width. `name` changes the names.
fn vit(path: &Path, dim: i64, name: impl Fn(&str) -> String) {
    let (pool, positions) = (Pool::default(), PositionInit::default());
    let config = VitConfig { image: 16, patch: 4, dim, depth: 1, heads: 1, out: dim, pool, positions };
    let tensor = |(index, (parameter, shape)): (usize, (String, Vec<i64>))| {
        let count: i64 = shape.iter().product();
        let wave = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * (0.37 + 0.1 * index as f64)).sin();
        (name(&parameter), wave.view(&shape[..]) * 0.3)
    };
    let shapes = parameter_shapes(&config).unwrap().into_iter().filter(|(name, _)| !name.starts_with("out."));
    let named: Vec<(String, Tensor)> = shapes.enumerate().map(tensor).collect();
    std::fs::write(path, safetensors::encode(&named, None).unwrap()).unwrap();
}

fn effective_rank(of: &Value) -> f64 {
    of["representation"]["effective_rank"].as_f64().unwrap()
}

#[test]
fn heads_are_asked_for_where_the_width_does_not_say_them() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    vit(&here.join("vit.safetensors"), 384, str::to_owned);
    refused(&probe(here, "vit.safetensors", &[]), &["width 384", "12 (MoCo v3)", "--heads"]);
    refused(
        &probe(here, "vit.safetensors", &["--heads", "7"]),
        &["7 attention heads (option) do not divide"],
    );
    let output = probe(here, "vit.safetensors", &["--heads", "12", "--act", "quick_gelu"]);
    let line = "12 heads (option), activation quick_gelu (option), eps 1e-6 (default), size 16 (file)";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    let twelve = json_of(&output);
    assert_eq!(twelve["encoder"]["transformer"]["heads"], json!({"value": 12, "from": "option"}));
    assert_eq!(twelve["encoder"]["features"]["value"], 384);
    let six = json_of(&probe(here, "vit.safetensors", &["--heads", "6", "--act", "quick_gelu"]));
    assert!((effective_rank(&six) - effective_rank(&twelve)).abs() > 1e-6, "other heads are other features");
    // the configuration beside the weights says the same as the options
    let config = json!({"model_args": {"num_heads": 12, "act_layer": "quick_gelu"}, "pretrained_cfg": {}});
    std::fs::write(here.join("config.json"), config.to_string()).unwrap();
    let configured = json_of(&probe(here, "vit.safetensors", &[]));
    let heads = json!({"value": 12, "from": "config", "config": "config.json"});
    assert_eq!(configured["encoder"]["transformer"]["heads"], heads);
    assert_eq!(configured["targets"], twelve["targets"]);
    // a configuration of another model is noticed
    std::fs::write(here.join("config.json"), json!({"hidden_size": 768}).to_string()).unwrap();
    refused(
        &probe(here, "vit.safetensors", &["--heads", "6"]),
        &["the width is 384", "belongs to another model"],
    );
    std::fs::write(here.join("config.json"), json!({"model_args": {"block_fn": "ResPostBlock"}}).to_string())
        .unwrap();
    refused(&probe(here, "vit.safetensors", &["--heads", "6"]), &["block_fn", "torch.jit.trace"]);
}

#[test]
fn mean_and_std_beside_the_weights_are_used() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let options = ["--size", "16", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"];
    let given = json_of(&probe(here, "map.pt", &options));
    let imagenet = json_of(&probe(here, "map.pt", &["--size", "16"]));
    assert_ne!(given["targets"], imagenet["targets"]);
    assert_eq!(imagenet["encoder"]["mean"]["from"], "default");
    let stated =
        json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "size": {"height": 16}});
    std::fs::write(here.join("preprocessor_config.json"), stated.to_string()).unwrap();
    let output = probe(here, "map.pt", &[]);
    assert!(
        stderr(&output).contains("mean [0.5, 0.5, 0.5] (preprocessor_config.json)"),
        "{}",
        stderr(&output)
    );
    assert_eq!(json_of(&output)["targets"], given["targets"]);
    refused(&probe(here, "map.pt", &["--heads", "3"]), &["--heads", "TorchScript module has its own"]);
}

#[test]
fn maps_with_channels_last_are_read_as_such() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("first.pt"), 16, colour_map);
    traced(&here.join("last.pt"), 16, |images| colour_map(images).permute([0, 2, 3, 1]));
    let first = json_of(&probe(here, "first.pt", &["--size", "16"]));
    let last = json_of(&probe(here, "last.pt", &["--size", "16"]));
    assert_eq!(last["encoder"]["features"]["value"], 8);
    assert_eq!(last["encoder"]["layout"], json!({"value": "nhwc", "from": "file"}));
    assert!((effective_rank(&first) - effective_rank(&last)).abs() < 1e-3);
    // neither the shape nor another size shows it
    traced(&here.join("cube.pt"), 16, |images| colour_map(images).narrow(1, 0, 4).reshape([-1, 4, 4, 4]));
    refused(&probe(here, "cube.pt", &["--size", "16"]), &["[4, 4, 4, 4]", "--layout nchw"]);
    let told = json_of(&probe(here, "cube.pt", &["--size", "16", "--layout", "nhwc"]));
    assert_eq!(told["encoder"]["layout"], json!({"value": "nhwc", "from": "option"}));
}

#[test]
fn what_is_no_encoder_gets_its_true_reason() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(here.join("state.pth")).unwrap());
    archive.start_file("state/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(b"\x80\x02cposix\nsystem\nX\x08\0\0\0touch ran\x85R.").unwrap();
    archive.finish().unwrap();
    let output = probe(here, "state.pth", &[]);
    refused(&output, &["encoder state.pth", "`posix.system`", "nothing of the file was run", "hint:"]);
    assert!(!here.join("ran").exists());
    // one parameter more than the architecture has
    let one = |name: &str| {
        vit(&here.join("odd"), 384, |parameter| {
            if parameter == "norm.weight" { name.to_owned() } else { parameter.to_owned() }
        });
        probe(here, "odd", &["--heads", "6"])
    };
    refused(&one("blocks.0.gamma_1"), &["blocks.0.gamma_1: has [384], not read", "export_encoder.py"]);
    refused(&one("blocks.0.gamma_1"), &["norm.weight: missing"]);
}

/// A prefix is said; of several encoders, one is chosen.
#[test]
fn prefixes_are_said_and_several_encoders_are_told_apart() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    vit(&here.join("plain"), 384, str::to_owned);
    let plain = json_of(&probe(here, "plain", &["--heads", "6"]));
    for prefix in ["module.", "_orig_mod.", "module.backbone."] {
        vit(&here.join("prefixed"), 384, |name| format!("{prefix}{name}"));
        let output = probe(here, "prefixed", &["--heads", "6"]);
        let text = stderr(&output);
        assert!(text.contains(&format!("under `{prefix}`")), "{text}");
        let prefixed = json_of(&output);
        assert_eq!(prefixed["targets"], plain["targets"]);
        assert_eq!(prefixed["encoder"]["found"]["value"]["under"], prefix);
    }
}

/// A module in half precision, and one whose code names a CUDA device.
#[test]
fn modules_in_half_precision_or_on_another_device_work_or_say_why() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    let images = Tensor::ones([2, 3, 16, 16], (Kind::BFloat16, Device::Cpu));
    let weight = Tensor::ones([768, 8], (Kind::BFloat16, Device::Cpu));
    let mut half = |inputs: &[Tensor]| vec![inputs[0].flatten(1, 3).matmul(&weight)];
    CModule::create_by_tracing("Half", "forward", &[images], &mut half)
        .unwrap()
        .save(here.join("half.pt"))
        .unwrap();
    let output = probe(here, "half.pt", &["--size", "16"]);
    assert!(stderr(&output).contains("TorchScript module (takes BFloat16 images)"), "{}", stderr(&output));
    json_of(&output);
    traced(&here.join("cpu.pt"), 16, |images| {
        colour_map(&images.to_device(Device::Cpu).to_kind(Kind::Double).to_kind(Kind::Float))
    });
    let changed = with_code_changed(&here.join("cpu.pt"), &here.join("cuda.pt"));
    assert!(changed, "the traced code names no device");
    if tch::Cuda::is_available() {
        return;
    }
    let output = probe(here, "cuda.pt", &["--size", "16"]);
    refused(&output, &["CUDA device", "trace it again on the CPU"]);
    assert!(
        !stderr(&output).contains("linker") && !stderr(&output).contains("INCLUDE"),
        "{}",
        stderr(&output)
    );
}

/// Copies a TorchScript archive with every device "cpu" in its code replaced by "cuda:0". Returns whether
/// there was one.
fn with_code_changed(from: &Path, to: &Path) -> bool {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(from).unwrap()).unwrap();
    let mut copy = zip::ZipWriter::new(std::fs::File::create(to).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut changed = false;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let name = file.name().unwrap().replace("cpu/", "cuda/");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        if name.ends_with(".py") {
            let code = String::from_utf8(bytes).unwrap();
            changed |= code.contains("torch.device(\"cpu\")");
            bytes = code.replace("torch.device(\"cpu\")", "torch.device(\"cuda:0\")").into_bytes();
        }
        copy.start_file(name, stored).unwrap();
        copy.write_all(&bytes).unwrap();
    }
    copy.finish().unwrap();
    changed
}

/// A run keeps the description of an external encoder in its cells, in its manifest and below its tables.
#[test]
fn a_run_records_what_its_encoders_are() {
    let folder = folder();
    let here = folder.path();
    traced(&here.join("map.pt"), 16, colour_map);
    let more = ["--methods", "Random init", "--external", "Map=map.pt"];
    succeeded(&eqr(here, &run_args("run", &more)));
    let run = here.join("run");
    let encoder = &cell(&run, "probe-external-map")["encoder"];
    assert_eq!(encoder["architecture"], json!({"value": "TorchScript module", "from": "file"}));
    let manifest: Value = serde_json::from_slice(&std::fs::read(run.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(&manifest["encoders"]["Map"][0], encoder);
    let tables = std::fs::read_dir(run.join("tables")).unwrap().flatten().map(|file| file.path());
    let markdown: Vec<String> = tables
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert!(markdown.iter().any(|text| text.contains("Map: TorchScript module (file)")), "{markdown:?}");
    // the same call finds nothing to do
    succeeded(&eqr(here, &run_args("run", &more)));
}
