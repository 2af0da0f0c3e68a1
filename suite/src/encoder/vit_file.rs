//! The parameters of a ViT encoder from a safetensors file, exported by this program or with timm's names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use eqr_models::positions::resized;
use eqr_models::vit::{Pool, PositionInit, Vit, VitConfig};
use eqr_models::{Arena, Compute, Normalisation, Registry};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::encoder::network::Network;
use crate::run_folder::safetensors::{self, NamedTensors};

const POSITIONS: &str = "pos_embed";
const PATCHES: &str = "patch_embed.proj.weight";

/// Prefix of the map to y, which only our encoders have.
const OUT: &str = "out.";

/// Prefix of a ViT's classifier, which is not part of the encoder.
const CLASSIFIER: &str = "head.";

/// What to do with a network that this program does not build.
const WAY_OUT: &str = "hint: any PyTorch model can be measured as TorchScript: torch.jit.trace(model.eval(), \
                       images).save(\"encoder.pt\"), then --encoder encoder.pt";

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
            "{} does not fit an encoder of patch {patch}, dim {dim}, depth {depth}, heads {heads}:\n{}{}",
            self.path.display(),
            problems.join("\n"),
            self.relative()
                .map(|relative| format!("\nthese are parameters of {relative}\n{WAY_OUT}"))
                .unwrap_or_default()
        )
    }

    /// The kind of ViT that parameters other than those of a plain one belong to.
    fn relative(&self) -> Option<&'static str> {
        let has = |part: &str| self.tensors.keys().any(|name| name.contains(part));
        [
            ("register_tokens", "DINOv2 with registers"),
            ("mask_token", "DINOv2, or of a masked autoencoder"),
            ("reg_token", "a ViT with register tokens"),
            ("norm_pre.", "CLIP's ViT, which normalises before its first block"),
            ("fc_norm.", "a ViT that averages its patch tokens before its last normalisation (fc_norm)"),
            (".ls1.", "a ViT with layer scale, such as DINOv2 or DeiT III"),
            ("decoder_", "a masked autoencoder with its decoder"),
            ("rope", "a ViT with rotary positions"),
            ("attn_pool.", "a ViT with attention pooling, such as SigLIP's"),
            (".q_norm.", "a ViT with normalised queries"),
            (".mlp.fc1_", "a ViT with gated MLPs"),
        ]
        .into_iter()
        .find(|(part, _)| has(part))
        .map(|(_, relative)| relative)
    }

    /// Shape of the encoder that the file records, as our files do.
    pub fn recorded(&self) -> Option<VitConfig> {
        self.config
    }

    /// Shape of the encoder, from the shapes of its tensors, with one attention head: their number does not
    /// show. Without a map to y, y is as wide as a token.
    ///
    /// # Errors
    /// Tensors that are not those of a ViT with timm's names.
    pub fn shape(&self) -> Result<VitConfig> {
        let shape = |name: &str| self.tensors.get(name).map(Tensor::size);
        let (patches, positions) = (shape(PATCHES), shape(POSITIONS));
        let (Some([dim, 3, patch, _]), Some([1, tokens, _])) = (patches.as_deref(), positions.as_deref())
        else {
            let first =
                self.tensors.iter().take(8).map(|(name, tensor)| format!("  {name}: {:?}", tensor.size()));
            bail!(
                "no ViT with timm's names: expected {PATCHES} (D, 3, p, p) and pos_embed (1, 1 + g², D); the file \
                 begins with\n{}\n{}",
                first.collect::<Vec<_>>().join("\n"),
                self.reason()
            );
        };
        let block_index = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<i64>().ok();
        let depth = self.tensors.keys().filter_map(|name| block_index(name)).max().map_or(0, |last| last + 1);
        let grid = ((tokens - 1).max(1) as f64).sqrt().round() as i64;
        let out = shape("out.weight").map_or(dim - dim % 2, |out| out[0]);
        let (pool, positions) = (Pool::default(), PositionInit::default());
        Ok(VitConfig { image: grid * patch, patch: *patch, dim: *dim, depth, heads: 1, out, pool, positions })
    }

    /// Why the names are not timm's, and what to do.
    fn reason(&self) -> String {
        if let Some(prefix) =
            self.tensors.keys().find_map(|name| name.strip_suffix(PATCHES)).filter(|p| !p.is_empty())
        {
            return format!(
                "the names begin with `{prefix}`, which a wrapper of the model added (module.: DataParallel, \
                 _orig_mod.: torch.compile)\nhint: save them without it: {{name.removeprefix(\"{prefix}\"): t for \
                 name, t in state.items() if name.startswith(\"{prefix}\")}}"
            );
        }
        let has = |part: &str| self.tensors.keys().any(|name| name.contains(part));
        let names = [
            ("patch_embeddings.projection", "Hugging Face's transformers (ViT, DINOv2)"),
            ("vision_model.", "Hugging Face's transformers (CLIP, SigLIP)"),
            ("transformer.resblocks.", "OpenAI's CLIP or open_clip"),
            ("conv_proj.", "torchvision's ViT"),
            ("layer1.0.", "a ResNet, which is no ViT"),
            ("stages.0.", "a network in stages (ConvNeXt, Swin), which is no plain ViT"),
        ];
        let whose = names.into_iter().find(|(part, _)| has(part));
        let whose = whose.map(|(_, whose)| format!("these are the names of {whose}\n")).unwrap_or_default();
        format!("{whose}{WAY_OUT}")
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
