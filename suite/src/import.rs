//! An encoder from a file as the start of a training: ours, or any ViT with timm's parameter names.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eqr_models::arena::Compute;
use eqr_models::vit::{Vit, VitConfig};
use eqr_models::{Arena, Registry};
use tch::{Device, Kind, Tensor};

use crate::tensors::{self, Named};
use crate::train::Network;

const POSITIONS: &str = "pos_embed";
/// The map to y is ours: other ViTs do not have it, and it then starts at random.
const OUT: &str = "out.";

/// The parameters of an encoder as they stand in a file.
pub struct Encoder {
    path: PathBuf,
    tensors: Named,
    heads: Option<i64>,
    /// Hash of the file.
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

impl Encoder {
    /// Reads a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read or is not of floats in safetensors.
    pub fn read(path: &Path) -> Result<Self> {
        let place = || format!("train.init = {}", path.display());
        let bytes = std::fs::read(path).with_context(place)?;
        let (tensors, metadata) = tensors::decode(&bytes).with_context(place)?;
        // shapes do not tell the number of heads; our own files do
        let heads = metadata.get("heads").and_then(|text| text.parse().ok());
        Ok(Encoder { path: path.to_owned(), tensors, heads, blake3: blake3::hash(&bytes).to_hex().to_string() })
    }

    /// The file's tensors for an encoder of this shape, positions brought to its token map.
    ///
    /// # Errors
    /// Every name that is missing or of another shape, in one message; another number of heads.
    pub fn fitted(&self, config: &VitConfig) -> Result<Named> {
        let mut fitted = Named::new();
        let mut problems = Vec::new();
        for (name, shape) in parameters(config)? {
            let Some(tensor) = self.tensors.get(name.as_str()) else {
                if !name.starts_with(OUT) {
                    problems.push(format!("  {name}: missing, expected {shape:?}"));
                }
                continue;
            };
            let tensor = match name.as_str() {
                POSITIONS => resized_positions(tensor, config),
                _ => tensor.shallow_clone(),
            };
            match tensor.size() == shape {
                true => drop(fitted.insert(Cow::Owned(name), tensor)),
                false => problems.push(format!("  {name}: has {:?}, expected {shape:?}", tensor.size())),
            }
        }
        if let Some(heads) = self.heads.filter(|&heads| heads != config.heads) {
            problems.push(format!("  heads: has {heads}, expected {}", config.heads));
        }
        if problems.is_empty() {
            return Ok(fitted);
        }
        let VitConfig { patch, dim, depth, heads, .. } = config;
        bail!(
            "train.init = {} does not fit an encoder of patch {patch}, dim {dim}, depth {depth}, heads {heads}:\n{}\nhint: set model.* to the file's shapes",
            self.path.display(),
            problems.join("\n")
        )
    }

    /// Overwrites the network's encoder; its other parameters stay.
    ///
    /// # Errors
    /// As [`Encoder::fitted`].
    pub fn start(&self, network: &mut Network) -> Result<()> {
        let arena = &mut network.arena;
        let own = arena.named(arena.master()).into_iter().map(|(name, tensor)| (Cow::Owned(name), tensor));
        let mut all: Named = own.collect();
        all.extend(self.fitted(network.model.encoder.config())?);
        Ok(arena.load(&all)?)
    }
}

/// A position embedding (1, 1 + g², dim) for `config`'s token map: the class token's as it is, the others by antialiased bicubic
/// interpolation, as timm's `resample_abs_pos_embed`. Anything of another form is returned as it is, for the caller to refuse.
fn resized_positions(positions: &Tensor, config: &VitConfig) -> Tensor {
    let unchanged = || positions.shallow_clone();
    let Ok((1, tokens, dim)) = positions.size3() else { return unchanged() };
    let (side, grid) = (((tokens - 1).max(0) as f64).sqrt().round() as i64, config.grid());
    if side < 1 || side * side != tokens - 1 || side == grid || dim != config.dim {
        return unchanged();
    }
    let map = positions.narrow(1, 1, tokens - 1).to_kind(Kind::Float).reshape([1, side, side, dim]);
    let map = map.permute([0, 3, 1, 2]).contiguous();
    let map = map.internal_upsample_bicubic2d_aa([grid, grid], false, None, None);
    let map = map.permute([0, 2, 3, 1]).reshape([1, grid * grid, dim]);
    Tensor::cat(&[&positions.narrow(1, 0, 1).to_kind(Kind::Float), &map], 1)
}
