//! Vision transformers as they are published (Dosovitskiy et al. 2021), with timm's parameter names: ViT,
//! DeiT, MAE, DINO, DINOv2 (Oquab et al. 2023), registers (Darcet et al. 2023), CLIP, SigLIP, DINOv3.

use tch::{Device, Kind, Tensor};

use super::linear::{LayerNorm, Linear};
use super::parameters::Parameters;
use super::rotary::Rotary;
use super::transformer_block::Block;
use crate::error::{Error, Result};
use crate::layer_tokens::{LayerTokens, Place};
use crate::layers::Activation;
use crate::positions::resized_map;
use crate::vit::patchify;

/// What the names and shapes of the parameters do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitForm {
    /// Side of the images in pixels. Position embeddings are resized.
    pub image: i64,
    /// Attention heads.
    pub heads: i64,
    /// Function between the two layers of an MLP.
    pub activation: Activation,
    /// Function of the gate of a gated MLP.
    pub gate: Activation,
    /// Added to the variance in layer normalisation.
    pub eps: f64,
    /// Base of the rotary positions, if there are such.
    pub rotary: Option<f64>,
}

/// The tokens are class, distillation and register tokens, then the patches.
pub struct VisionTransformer {
    patches: Linear,
    patch: i64,
    /// (1, P, dim): the tokens before the patches, with their positions.
    before: Option<Tensor>,
    has_class: bool,
    /// (1, T, dim)
    positions: Option<Tensor>,
    rotary: Option<Rotary>,
    norm_before: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    /// Normalisation of pooled features, in place of `norm`.
    fc_norm: Option<LayerNorm>,
}

/// Names of the tokens before the patches, in their order.
const BEFORE: [&str; 3] = ["cls_token", "dist_token", "reg_token"];

impl VisionTransformer {
    /// Builds the encoder from parameters with timm's names.
    ///
    /// # Errors
    /// An image side or a number of heads that does not fit; parameters that are missing, have another shape
    /// or do not belong to such an encoder, one line each.
    pub(super) fn read(mut p: Parameters, form: &VitForm, device: Device) -> Result<VisionTransformer> {
        let [dim, 3, patch, _] = p.shape("patch_embed.proj.weight")[..] else {
            return Err(Error::Mismatch("  patch_embed.proj.weight: expected (D, 3, p, p)".into()));
        };
        let grid = form.grid(dim, patch)?;
        let flat = 3 * patch * patch;
        let weight = p.take("patch_embed.proj.weight", &[dim, 3, patch, patch]).view([dim, flat]);
        let patches = Linear::of(weight, p.take_if("patch_embed.proj.bias", &[dim]));
        let has_class = p.has("cls_token");
        let (before, positions) = tokens_and_positions(&mut p, dim, grid);
        let norm_before = LayerNorm::take_if(&mut p, "norm_pre", dim, form.eps);
        let blocks = (0..p.count("blocks.")).map(|i| Block::take(&mut p, &format!("blocks.{i}"), dim, form));
        let blocks: Vec<Block> = blocks.collect();
        let norm = LayerNorm::take_if(&mut p, "norm", dim, form.eps);
        let fc_norm = LayerNorm::take_if(&mut p, "fc_norm", dim, form.eps);
        if blocks.is_empty() {
            p.problem("blocks.0: missing, expected at least one block");
        }
        if norm.is_none() && fc_norm.is_none() {
            p.problem("norm.weight: missing, and there is no fc_norm.weight either");
        }
        if positions.is_none() && form.rotary.is_none() {
            p.problem("pos_embed: missing, expected positions of the tokens");
        }
        p.finish()?;
        let rotary = form.rotary.map(|base| Rotary::new(grid, dim / form.heads, base, device));
        Ok(VisionTransformer {
            patches,
            patch,
            before,
            has_class,
            positions,
            rotary,
            norm_before,
            blocks,
            norm,
            fc_norm,
        })
    }

    /// The class token and the map of the patch tokens after the last normalisation.
    pub(super) fn features(&self, images: &Tensor) -> LayerTokens {
        self.output(&self.pass(images, |_, _| ()))
    }

    /// The tokens after the embedding, after every block and after the last normalisation.
    pub(super) fn layers(&self, images: &Tensor) -> Vec<LayerTokens> {
        let mut layers = Vec::new();
        let last = self.pass(images, |place, x| layers.push(self.tokens(place, x)));
        layers.push(self.output(&last));
        layers
    }

    pub(super) fn after_pooling(&self, pooled: &Tensor) -> Tensor {
        self.fc_norm.as_ref().map_or(pooled.shallow_clone(), |norm| norm.forward(pooled))
    }

    /// Maps (B, dim, g, g) of the patch tokens after each quarter of the blocks.
    pub(super) fn maps(&self, images: &Tensor) -> Vec<Tensor> {
        let depth = self.blocks.len();
        let ends: Vec<usize> = (1..=4).map(|quarter| (depth * quarter).div_ceil(4)).collect();
        let mut maps = Vec::new();
        let _ = self.pass(images, |place, x| {
            if matches!(place, Place::Block(number) if ends.contains(&number)) {
                maps.push(self.map(x));
            }
        });
        maps
    }

    /// Images (B, 3, S, S) -> the last block's output (B, P + T, dim). The tokens after the embedding and
    /// after every block are shown to `look`.
    fn pass(&self, images: &Tensor, mut look: impl FnMut(Place, &Tensor)) -> Tensor {
        let mut x = self.embed(images);
        look(Place::Embedding, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, self.rotary.as_ref());
            look(Place::Block(i + 1), &x);
        }
        x
    }

    /// The last block's output (B, P + T, dim) after the last normalisation.
    fn output(&self, last: &Tensor) -> LayerTokens {
        let x = self.norm.as_ref().map_or(last.shallow_clone(), |norm| norm.forward(last));
        self.tokens(Place::Output, &x)
    }

    /// Tokens (B, P + T, dim) as class token and map.
    fn tokens(&self, place: Place, x: &Tensor) -> LayerTokens {
        LayerTokens { place, class: self.has_class.then(|| x.select(1, 0)), map: self.map(x) }
    }

    /// Images (B, 3, S, S) -> the first block's input (B, P + T, dim).
    fn embed(&self, images: &Tensor) -> Tensor {
        let mut x = self.patches.forward(&patchify(images, self.patch));
        if let Some(positions) = &self.positions {
            x += positions;
        }
        if let Some(before) = &self.before {
            let (batch, _, dim) = x.size3().expect("tokens are (B, T, dim)");
            x = Tensor::cat(&[before.expand([batch, -1, dim], false), x], 1);
        }
        self.norm_before.as_ref().map_or(x.shallow_clone(), |norm| norm.forward(&x))
    }

    /// The patch tokens of (B, P + T, dim) as a map (B, dim, sqrt(T), sqrt(T)).
    fn map(&self, x: &Tensor) -> Tensor {
        let (batch, tokens, dim) = x.size3().expect("tokens are (B, P + T, dim)");
        let before = self.before.as_ref().map_or(0, |before| before.size()[1]);
        let side = ((tokens - before) as f64).sqrt().round() as i64;
        x.narrow(1, before, tokens - before).transpose(1, 2).reshape([batch, dim, side, side])
    }
}

impl VitForm {
    /// Side of the token map.
    fn grid(&self, dim: i64, patch: i64) -> Result<i64> {
        let VitForm { image, heads, .. } = *self;
        if heads < 1 || dim % heads != 0 {
            return Err(Error::Invalid(format!("{heads} attention heads do not divide the width {dim}")));
        }
        if image < 2 * patch || image % patch != 0 {
            return Err(Error::Invalid(format!(
                "images of {image} pixels: the side must be a multiple of the patch size {patch}, and at \
                 least twice as large\nhint: give --size"
            )));
        }
        Ok(image / patch)
    }
}

/// The tokens before the patches (1, P, dim) and the positions of the patches (1, T, dim). Of the position
/// embedding, the last g² belong to the patches. Those before, if any, belong to all tokens before the
/// patches, or to the class token alone (DINOv2: registers come without).
fn tokens_and_positions(p: &mut Parameters, dim: i64, grid: i64) -> (Option<Tensor>, Option<Tensor>) {
    let mut tokens = |name: &str| {
        let count = p.shape(name).iter().product::<i64>() / dim;
        (count, p.take_if(name, &[1, count, dim]))
    };
    let before: Vec<Tensor> = BEFORE.iter().filter_map(|name| tokens(name).1).collect();
    let before = (!before.is_empty()).then(|| Tensor::cat(&before, 1));
    let (count, Some(positions)) = tokens("pos_embed") else { return (before, None) };
    let all = before.as_ref().map_or(0, |before| before.size()[1]);
    let class = i64::from(all > 0);
    let is_square = |count: i64| count > 0 && ((count as f64).sqrt().round() as i64).pow(2) == count;
    let Some(placed) = [0, class, all].into_iter().find(|placed| is_square(count - placed)) else {
        p.problem(format!("pos_embed: {count} positions, which with {all} tokens before are no square map"));
        return (before, None);
    };
    let own = Tensor::zeros([1, all, dim], (Kind::Float, positions.device()));
    own.narrow(1, 0, placed).copy_(&positions.narrow(1, 0, placed));
    (before.map(|before| before + own), Some(resized_map(&positions.narrow(1, placed, count - placed), grid)))
}
