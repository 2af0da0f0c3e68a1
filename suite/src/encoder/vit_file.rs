//! The parameters of a ViT encoder from a safetensors file, exported by this program or with timm's names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use eqr_models::positions::resized;
use eqr_models::vit::{Pool, PositionInit, Vit, VitConfig};
use eqr_models::{Arena, Compute, Normalisation, Registry};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::encoder::network::Network;
use crate::run_folder::safetensors::{self, NamedTensors};

const POSITIONS: &str = "pos_embed";

/// Prefix of the map to y, which only our encoders have.
const OUT: &str = "out.";

/// Prefix of a ViT's classifier, which is not part of the encoder.
const CLASSIFIER: &str = "head.";

/// Width of an attention head in all of timm's plain ViTs.
const HEAD_WIDTH: i64 = 64;

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

    /// Whether there is a map to y.
    pub fn has_out(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with(OUT))
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
            problems.join("\n")
        )
    }

    /// Shape of the encoder, from the file's metadata or else from the shapes of its tensors. In the second
    /// case, the number of heads is `heads`, or one per 64 channels. Without a map to y, y is as wide as a
    /// token.
    ///
    /// # Errors
    /// Tensors that are not those of a ViT; `heads` that contradicts the file.
    pub fn config(&self, heads: Option<i64>) -> Result<VitConfig> {
        if let Some(config) = self.config {
            let fits = heads.is_none_or(|heads| heads == config.heads);
            ensure!(fits, "--heads {}: the file says {}", heads.unwrap_or_default(), config.heads);
            return Ok(config);
        }
        let shape = |name: &str| self.tensors.get(name).map(Tensor::size);
        let (patches, positions) = (shape("patch_embed.proj.weight"), shape(POSITIONS));
        let (Some([dim, 3, patch, _]), Some([1, tokens, _])) = (patches.as_deref(), positions.as_deref())
        else {
            let first =
                self.tensors.iter().take(8).map(|(name, tensor)| format!("  {name}: {:?}", tensor.size()));
            bail!(
                "no ViT with timm's names: expected patch_embed.proj.weight (D, 3, p, p) and pos_embed \
                 (1, 1 + g², D); the file begins with\n{}",
                first.collect::<Vec<_>>().join("\n")
            );
        };
        let block_index = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<i64>().ok();
        let depth = self.tensors.keys().filter_map(|name| block_index(name)).max().map_or(0, |last| last + 1);
        let grid = ((tokens - 1).max(1) as f64).sqrt().round() as i64;
        ensure!(
            heads.is_some() || dim % HEAD_WIDTH == 0,
            "width {dim} is not a multiple of {HEAD_WIDTH}\nhint: give the number of attention heads \
             with --heads"
        );
        let (heads, out) =
            (heads.unwrap_or(dim / HEAD_WIDTH), shape("out.weight").map_or(dim - dim % 2, |out| out[0]));
        let (pool, positions) = (Pool::default(), PositionInit::default());
        Ok(VitConfig { image: grid * patch, patch: *patch, dim: *dim, depth, heads, out, pool, positions })
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
