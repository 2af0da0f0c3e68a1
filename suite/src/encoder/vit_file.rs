//! The parameters of an encoder of this program, from a safetensors file that it exported or, for
//! `train.init`, of any plain ViT with timm's names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use eqr_datasets::FileKind;
use eqr_models::positions::resized;
use eqr_models::vit::{Vit, VitConfig};
use eqr_models::{Arena, Compute, Normalisation, Registry};
use eqr_weights::Weights;
use serde_json::Value;
use tch::Device;

use crate::encoder::network::Network;
use crate::run_folder::safetensors::{self, NamedTensors};

const POSITIONS: &str = "pos_embed";
/// Prefix of the map to y, which only our encoders have.
const OUT: &str = "out.";

/// Prefix of a ViT's classifier, which is not part of the encoder.
const CLASSIFIER: &str = "head.";

/// The parameters of a ViT encoder, from a file or from memory.
pub struct VitParameters {
    path: PathBuf,
    tensors: NamedTensors,
    /// Shape of the encoder, if the file records it, as our files do.
    config: Option<VitConfig>,
    /// Normalisation of its images, if the file records it, as our files do.
    pub normalisation: Option<Normalisation>,
    /// BLAKE3 of the file; empty for parameters that are not from a safetensors file.
    pub blake3: String,
}

/// Names and shapes of an encoder's parameters.
///
/// # Errors
/// A shape that cannot be built.
pub fn parameter_shapes(config: &VitConfig) -> Result<Vec<(String, Vec<i64>)>> {
    let mut registry = Registry::default();
    Vit::new(&mut registry, *config)?;
    let arena = Arena::new(registry, 0, Compute::F32, Device::Cpu);
    Ok(arena.names().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect())
}

impl VitParameters {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read or is not safetensors of floats.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let (tensors, metadata) = safetensors::decode(&bytes)?;
        // the shapes do not reveal the number of heads; the metadata of our files does
        let config = config_in(&metadata);
        let normalisation = metadata.get("normalisation").and_then(|text| serde_json::from_str(text).ok());
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        Ok(VitParameters { path: path.to_owned(), tensors, config, normalisation, blake3 })
    }

    /// Reads a safetensors file that this program exported, with the encoder's shape. `None` for any other
    /// file of weights.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_own(path: &Path) -> Result<Option<(Self, VitConfig)>> {
        if FileKind::of_file(path)? != FileKind::Safetensors {
            return Ok(None);
        }
        let metadata = Weights::open(path)?.metadata().into_iter().collect();
        let Some(config) = config_in(&metadata) else { return Ok(None) };
        Ok(Some((Self::read(path)?, config)))
    }

    /// Selects the encoder's parameters from `all` parameters of a network. Messages give `path` as their
    /// origin.
    ///
    /// # Errors
    /// A shape that cannot be built.
    pub fn select(path: &Path, all: &NamedTensors, config: &VitConfig) -> Result<Self> {
        let selected = parameter_shapes(config)?.into_iter().filter_map(|(name, _)| {
            let tensor = all.get(name.as_str())?.shallow_clone();
            Some((Cow::Owned(name), tensor))
        });
        let (path, tensors) = (path.to_owned(), selected.collect());
        Ok(VitParameters { path, tensors, config: Some(*config), normalisation: None, blake3: String::new() })
    }

    /// The tensors for an encoder of this shape. Position embeddings are resized to its token map.
    ///
    /// # Errors
    /// One message that lists every parameter that is missing, has another shape or does not belong to such
    /// an encoder, and a different number of heads.
    pub fn fitted(&self, config: &VitConfig) -> Result<NamedTensors> {
        let mut fitted = NamedTensors::new();
        let mut problems = Vec::new();
        let wanted = parameter_shapes(config)?;
        for (name, shape) in &wanted {
            let Some(tensor) = self.tensors.get(name.as_str()) else {
                if !name.starts_with(OUT) {
                    problems.push(format!("  {name}: missing, expected {shape:?}"));
                }
                continue;
            };
            let tensor = match name.as_str() {
                POSITIONS => resized(tensor, config.grid(), config.dim),
                _ => tensor.shallow_clone(),
            };
            match tensor.size() == *shape {
                true => drop(fitted.insert(Cow::Owned(name.clone()), tensor)),
                false => problems.push(format!("  {name}: has {:?}, expected {shape:?}", tensor.size())),
            }
        }
        let is_used =
            |name: &str| name.starts_with(CLASSIFIER) || wanted.iter().any(|(wanted, _)| wanted == name);
        // ignoring a layer scale or a register token would change the features
        let unused = self.tensors.iter().filter(|(name, _)| !is_used(name));
        problems.extend(
            unused
                .map(|(name, tensor)| format!("  {name}: has {:?}, not part of a plain ViT", tensor.size())),
        );
        if let Some(heads) = self.config.map(|config| config.heads).filter(|&heads| heads != config.heads) {
            problems.push(format!("  heads: has {heads}, expected {}", config.heads));
        }
        if problems.is_empty() {
            return Ok(fitted);
        }
        let VitConfig { patch, dim, depth, heads, .. } = config;
        bail!(
            "{} does not fit an encoder of patch {patch}, dim {dim}, depth {depth}, heads {heads}:\n{}",
            self.path.display(),
            problems.join("\n"),
        )
    }

    /// Overwrites the network's encoder. Its other parameters stay unchanged.
    ///
    /// # Errors
    /// Same as [`VitParameters::fitted`].
    pub fn initialise(&self, network: &mut Network) -> Result<()> {
        let fitted = self.fitted(network.model.encoder.config())?;
        overwrite(&mut network.arena, fitted)
    }
}

/// Overwrites these parameters of the arena. The others stay unchanged.
///
/// # Errors
/// Tensors of other shapes.
pub(super) fn overwrite(arena: &mut Arena, tensors: NamedTensors) -> Result<()> {
    let current = arena.named(arena.master()).into_iter().map(|(name, tensor)| (Cow::Owned(name), tensor));
    let mut all: NamedTensors = current.collect();
    all.extend(tensors);
    Ok(arena.load(&all)?)
}

/// The encoder's shape in the metadata that `eqr-bench export` writes.
fn config_in(metadata: &HashMap<String, String>) -> Option<VitConfig> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let keys = ["image", "patch", "dim", "depth", "heads", "out", "pool", "positions"];
    let entries = keys.iter().filter_map(|&key| Some((key.to_owned(), value(metadata.get(key)?))));
    serde_json::from_value(Value::Object(entries.collect())).ok()
}
