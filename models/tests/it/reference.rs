//! Compares losses, gradients and the encoder with PyTorch and timm. The reference results were written by
//! `scripts/reference/gradients.py`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{LossConfig, build, method_names};
use eqr_models::positions::resized;
use eqr_models::step::{Batch, gradients};
use eqr_models::test_device::test_device;
use eqr_models::vit::{Vit, VitConfig};
use eqr_models::{Activations, Arena, Compute, MethodKind, ModelConfig, Registry, Solo};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tch::{Kind, Tensor};

const GRADIENTS: &[u8] = include_bytes!("reference/gradients.safetensors");
const VIT: &[u8] = include_bytes!("reference/vit.safetensors");

type Tensors = BTreeMap<String, Tensor>;

/// The tensors of a file, and its metadata under `reference`.
fn read<T: DeserializeOwned>(file: &[u8]) -> (Tensors, T) {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let about = serde_json::from_str(&header.metadata().as_ref().unwrap()["reference"]).unwrap();
    let tensor = |view: safetensors::tensor::TensorView| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::I64 => Kind::Int64,
            other => panic!("{other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        Tensor::from_data_size(view.data(), &shape, kind).to_device(test_device())
    };
    let tensors = SafeTensors::deserialize(file).unwrap().tensors();
    (tensors.into_iter().map(|(name, view)| (name, tensor(view))).collect(), about)
}

#[derive(Deserialize)]
struct Reference {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    encoder: VitConfig,
    heads: HeadConfig,
    decoder: DecoderConfig,
    loss: LossConfig,
    classes: i64,
    transforms: Vec<(String, i64)>,
    sie_constant: bool,
}

#[derive(Deserialize)]
struct Method {
    name: String,
    /// The decoder's values that differ from the configuration's.
    reading: serde_json::Map<String, serde_json::Value>,
    /// The parameters in the order of the flat gradient.
    names: Vec<String>,
    terms: Vec<(String, f64)>,
}

/// The methods with a reference, each with the method's own parameters and its `gradient`.
fn methods() -> Vec<(Tensors, Method)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reference/gradients");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|file| read(&std::fs::read(file).unwrap())).collect()
}

impl Config {
    fn model(&self, reading: &serde_json::Map<String, serde_json::Value>) -> ModelConfig {
        let mut decoder = serde_json::to_value(self.decoder).unwrap();
        decoder.as_object_mut().unwrap().extend(reading.clone());
        ModelConfig {
            encoder: self.encoder,
            heads: self.heads,
            decoder: serde_json::from_value(decoder).unwrap(),
            loss: self.loss,
            classes: self.classes,
            transforms: self.transforms.clone(),
            sie_constant: self.sie_constant,
        }
    }
}

fn batch(tensors: &Tensors, kind: Kind) -> Batch {
    let get = |name: &str| tensors[&format!("batch/{name}")].to_kind(kind);
    let labels = get("labels");
    let rows = labels.size();
    let (view1, view2, parameters) = (get("view1"), get("view2"), get("parameters"));
    let other_view1 = Some(view1.roll([-rows[0] / 2], [0]));
    Batch { view1, view2, other_view1, labels, parameters, rows }
}

fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    let found = found.to_kind(Kind::Double).to_device(expected.device());
    f64::try_from((found - expected).norm() / expected.norm()).unwrap()
}

/// Relative error of the gradient of the method `name`, and the largest relative error of its loss terms.
fn errors(
    name: &str,
    (own, reference): &(Tensors, Method),
    config: &Config,
    tensors: &Tensors,
    compute: Compute,
) -> (f64, f64) {
    let mut registry = Registry::default();
    let model = build(&name.parse::<MethodKind>().unwrap(), &config.model(&reference.reading), &mut registry)
        .unwrap();
    let mut arena = Arena::new(registry, 0, compute, test_device());
    let registered: BTreeSet<&str> = arena.names().map(|(name, _)| name).collect();
    let expected: BTreeSet<&str> = reference.names.iter().map(String::as_str).collect();
    assert_eq!(registered, expected, "{name}: the parameters that the method has");
    let value = |name: &String| {
        let key = format!("parameter/{name}");
        let value = own.get(&key).or_else(|| tensors.get(&key)).expect("a value of every parameter");
        (Cow::Owned(name.clone()), value.shallow_clone())
    };
    arena.load(&reference.names.iter().map(value).collect()).unwrap();

    let batch = batch(tensors, compute.master_kind());
    let terms = gradients(&mut arena, &model, &batch, Activations::default(), &Solo);
    let found: BTreeMap<String, Tensor> = arena.named(&arena.gradient()).into_iter().collect();
    let flat: Vec<Tensor> = reference.names.iter().map(|name| found[name].reshape([-1])).collect();
    let gradient = relative(&Tensor::cat(&flat, 0), &own["gradient"]);

    let names: Vec<&str> = terms.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, reference.terms.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{name}");
    let off = terms.iter().zip(&reference.terms).map(|((_, found), (_, expected))| {
        let found = f64::try_from(found).unwrap();
        (found - expected).abs() / expected.abs()
    });
    (gradient, off.fold(0.0, f64::max))
}

/// Pairs of rows with the same loss. The first one differs from the second only in its data or in its name.
const SAME_LOSS: [(&str, &str); 4] = [
    ("SIE(all, single each time)", "SIE(all)"),
    ("Ours, known part", "Ours"),
    ("Ours(VICReg)", "Ours"),
    ("Ours(VICReg), no reconstruction", "Ours, no reconstruction"),
];

fn assert_close(compute: Compute, tolerance: f64) {
    let (tensors, reference) = read::<Reference>(GRADIENTS);
    for method in &methods() {
        let own_name = method.1.name.as_str();
        let others = SAME_LOSS.iter().filter(|(_, same)| *same == own_name).map(|(name, _)| *name);
        for name in others.chain([own_name]) {
            let (gradient, term) = errors(name, method, &reference.config, &tensors, compute);
            println!("{compute:?} {name} {:?}: gradient {gradient:.1e}, terms {term:.1e}", method.1.reading);
            assert!(gradient <= tolerance && term <= tolerance, "{compute:?} {name}: {gradient:e}, {term:e}");
        }
    }
}

#[test]
fn losses_and_gradients_equal_torchs_in_f64() {
    assert_close(Compute::F64, 1e-9);
}

#[test]
fn losses_and_gradients_equal_torchs_in_fp32() {
    assert_close(Compute::F32, 1e-5);
}

/// The transform sets of SIE and of direct regression differ only in the columns that they read, and SIE's
/// own recipe only in its widths, so one of each is enough. The combinations of Ours are sums of terms that
/// have a reference. All terms must be well above 0, because an inactive hinge would test nothing.
#[test]
fn every_loss_has_a_reference() {
    let methods: Vec<Method> = methods().into_iter().map(|(_, method)| method).collect();
    for method in &methods {
        assert!(method.terms.iter().all(|(_, value)| *value > 1e-2), "{}: {:?}", method.name, method.terms);
    }
    let has: BTreeSet<&str> = methods.iter().map(|method| method.name.as_str()).collect();
    for name in method_names() {
        let kind: MethodKind = name.parse().unwrap();
        let alone = name.strip_suffix(", own pairs)").unwrap_or(name.trim_end_matches(')'));
        let set = alone.starts_with("SIE(") && !alone.contains(',') || name.starts_with("Direct regression(");
        let widths = name.contains("own recipe");
        let sum = name.ends_with("), no reconstruction");
        let same = SAME_LOSS.iter().any(|(row, _)| *row == name);
        assert!(!kind.trains() || set || widths || sum || same || has.contains(name.as_str()), "{name}");
    }
}

#[derive(Deserialize)]
struct VitReference {
    config: VitConfig,
}

#[test]
fn the_encoder_makes_timms_tokens_of_timms_weights() {
    let (tensors, reference) = read::<VitReference>(VIT);
    let mut registry = Registry::default();
    let vit = Vit::new(&mut registry, reference.config).unwrap();
    let mut arena = Arena::new(registry, 0, Compute::F32, test_device());
    // the output layer `out` is not part of timm's network
    let own = arena.named(arena.master()).into_iter().filter(|(name, _)| name.starts_with("out."));
    let timms = tensors.iter().filter_map(|(name, tensor)| {
        Some((name.strip_prefix("parameter/")?.to_owned(), tensor.shallow_clone()))
    });
    let named: BTreeMap<Cow<str>, Tensor> =
        own.chain(timms).map(|(name, tensor)| (Cow::Owned(name), tensor)).collect();
    assert_eq!(named.len(), arena.names().count(), "every weight of timm's has a place");
    arena.load(&named).unwrap();
    let tokens = vit.tokens(&arena, &tensors["images"]);
    let off = f64::try_from((&tokens - &tensors["tokens"]).abs().max()).unwrap();
    println!("tokens: {off:.1e}");
    assert!(off <= 1e-4, "{off}");
}

#[test]
fn position_embeddings_are_resized_as_by_timm() {
    let (tensors, _) = read::<VitReference>(VIT);
    let mut cases = 0;
    for (name, expected) in &tensors {
        let Some(side) = name.strip_prefix("positions/") else { continue };
        let found = resized(&tensors["parameter/pos_embed"], side.parse().unwrap(), 16);
        let off = f64::try_from((&found - expected).abs().max()).unwrap();
        assert!(found.size() == expected.size() && off <= 1e-6, "{name}: {off}");
        cases += 1;
    }
    assert_eq!(cases, 4);
}
