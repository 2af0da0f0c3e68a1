//! The parameters of an encoder from a file: ours, or any ViT with timm's names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use eqr_models::Compute;
use eqr_models::positions::resized;
use eqr_models::vit::{Pool, PositionInit, Vit, VitConfig};
use eqr_models::{Arena, Registry};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::encoder::network::Network;
use eqr_models::Normalisation;
use crate::run_folder::safetensors::{self, Named};

const POSITIONS: &str = "pos_embed";

/// The map to y is ours: other ViTs do not have it, and it then starts at random.
const OUT: &str = "out.";

/// A classifier is not the encoder's.
const CLASSIFIER: &str = "head.";

/// Of all of timm's plain ViTs.
const WIDTH_OF_A_HEAD: i64 = 64;

/// The parameters of an encoder as they stand in a file.
pub struct Parameters {
    path: PathBuf,
    tensors: Named,
    /// Shape of the encoder, as our own files say.
    config: Option<VitConfig>,
    /// What its images were normalised by, as our own files say.
    pub normalisation: Option<Normalisation>,
    /// Hash of the file; of a checkpoint's, empty.
    pub blake3: String,
}

/// Names and shapes of an encoder's parameters.
///
/// # Errors
/// A shape that cannot be built.
pub fn parameters(config: &VitConfig) -> Result<Vec<(String, Vec<i64>)>> {
    let mut registry = Registry::default();
    Vit::new(&mut registry, *config)?;
    let arena = Arena::new(registry, 0, Compute::F32, Device::Cpu);
    Ok(arena.names().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect())
}

impl Parameters {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read or is not of floats in safetensors.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let (tensors, metadata) = safetensors::decode(&bytes)?;
        // shapes do not tell the number of heads; our own files do
        let config = config_of(&metadata);
        let normalisation = metadata.get("normalisation").and_then(|text| serde_json::from_str(text).ok());
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        Ok(Parameters { path: path.to_owned(), tensors, config, normalisation, blake3 })
    }

    /// Those of an encoder in memory, or of a checkpoint, at `path`; what they hold beside the encoder's is left out.
    ///
    /// # Errors
    /// A shape that cannot be built.
    pub fn of_network(path: &Path, all: &Named, config: &VitConfig) -> Result<Self> {
        let own = parameters(config)?.into_iter().filter_map(|(name, _)| {
            let tensor = all.get(name.as_str())?.shallow_clone();
            Some((Cow::Owned(name), tensor))
        });
        let (path, tensors) = (path.to_owned(), own.collect());
        Ok(Parameters { path, tensors, config: Some(*config), normalisation: None, blake3: String::new() })
    }

    /// Whether the map to y is among them.
    pub fn has_out(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with(OUT))
    }

    /// The file's tensors for an encoder of this shape, positions brought to its token map.
    ///
    /// # Errors
    /// Every name that is missing, of another shape or of no parameter of such an encoder, in one message; another number of heads.
    pub fn fitted(&self, config: &VitConfig) -> Result<Named> {
        let mut fitted = Named::new();
        let mut problems = Vec::new();
        let wanted = parameters(config)?;
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
        let known = |name: &str| name.starts_with(CLASSIFIER) || wanted.iter().any(|(wanted, _)| wanted == name);
        // left out, a layer scale or a register token would make other features of it
        let unknown = self.tensors.iter().filter(|(name, _)| !known(name));
        problems.extend(
            unknown.map(|(name, tensor)| format!("  {name}: has {:?}, not part of a plain ViT", tensor.size())),
        );
        if let Some(heads) = self.config.map(|own| own.heads).filter(|&heads| heads != config.heads) {
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

    /// Shape of the encoder: as our own files say, of others by the tensors' shapes, with `heads` or a head for every 64 channels. y is
    /// as wide as a token where there is no map to it.
    ///
    /// # Errors
    /// Tensors that are no ViT's, other `heads` than the file says.
    pub fn config(&self, heads: Option<i64>) -> Result<VitConfig> {
        if let Some(config) = self.config {
            let fits = heads.is_none_or(|heads| heads == config.heads);
            ensure!(fits, "--heads {}: the file says {}", heads.unwrap_or_default(), config.heads);
            return Ok(config);
        }
        let shape = |name: &str| self.tensors.get(name).map(Tensor::size);
        let (patches, positions) = (shape("patch_embed.proj.weight"), shape(POSITIONS));
        let (Some([dim, 3, patch, _]), Some([1, tokens, _])) = (patches.as_deref(), positions.as_deref()) else {
            let found = self.tensors.iter().take(8).map(|(name, tensor)| format!("  {name}: {:?}", tensor.size()));
            bail!(
                "no ViT with timm's names: expected patch_embed.proj.weight (D, 3, p, p) and pos_embed (1, 1 + g², D); the file begins with\n{}",
                found.collect::<Vec<_>>().join("\n")
            );
        };
        let block = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<i64>().ok();
        let depth = self.tensors.keys().filter_map(|name| block(name)).max().map_or(0, |last| last + 1);
        let grid = ((tokens - 1).max(1) as f64).sqrt().round() as i64;
        ensure!(
            heads.is_some() || dim % WIDTH_OF_A_HEAD == 0,
            "width {dim} is no multiple of {WIDTH_OF_A_HEAD}\nhint: give the number of attention heads by --heads"
        );
        let (heads, out) =
            (heads.unwrap_or(dim / WIDTH_OF_A_HEAD), shape("out.weight").map_or(dim - dim % 2, |out| out[0]));
        let (pool, positions) = (Pool::default(), PositionInit::default());
        Ok(VitConfig { image: grid * patch, patch: *patch, dim: *dim, depth, heads, out, pool, positions })
    }

    /// Overwrites the network's encoder; its other parameters stay.
    ///
    /// # Errors
    /// As [`Parameters::fitted`].
    pub fn start(&self, network: &mut Network) -> Result<()> {
        let fitted = self.fitted(network.model.encoder.config())?;
        overwrite(&mut network.arena, fitted)
    }
}

/// Overwrites these parameters of the arena; the others stay.
///
/// # Errors
/// Other shapes.
pub fn overwrite(arena: &mut Arena, tensors: Named) -> Result<()> {
    let own = arena.named(arena.master()).into_iter().map(|(name, tensor)| (Cow::Owned(name), tensor));
    let mut all: Named = own.collect();
    all.extend(tensors);
    Ok(arena.load(&all)?)
}

/// The encoder's shape among the texts of `eqr-bench export`.
fn config_of(metadata: &HashMap<String, String>) -> Option<VitConfig> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let named = ["image", "patch", "dim", "depth", "heads", "out", "pool", "positions"];
    let entries = named.iter().filter_map(|&key| Some((key.to_owned(), value(metadata.get(key)?))));
    serde_json::from_value(Value::Object(entries.collect())).ok()
}
