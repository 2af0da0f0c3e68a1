//! The reconstruction decoder: a mixing of the two views (Eq. 1 of the paper), self-attention blocks, and
//! a linear layer that outputs the pixels of view 2.
//!
//! The paper does not say what is attended to. [`Query`] names the readings of Eq. 1.

mod config;
mod mixing;
mod unfold;

use tch::Tensor;

use crate::arena::Arena;
use crate::init::Init;
use crate::layers::{Activation, Block, LayerNorm, Linear, Mlp, Residual};
use crate::registry::{ParameterGroup, Registry};

pub use config::{AttentionScale, DecoderConfig, Query, Source, Unfold};
pub(crate) use mixing::Mixing;

/// What follows the mixing: an MLP, self-attention blocks and an output layer that predicts pixels.
#[derive(Clone, Debug)]
pub struct Decoder {
    norm: LayerNorm,
    mlp: Mlp,
    blocks: Vec<Block>,
    norm_out: LayerNorm,
    pixels: Linear,
}

impl Decoder {
    /// A decoder to patches of `pixels` values each, registered under `decoder`. Its mixing has checked the
    /// configuration.
    pub(crate) fn new(reg: &mut Registry, config: DecoderConfig, pixels: i64) -> Self {
        let group = ParameterGroup::PerSample;
        let DecoderConfig { depth, dim, heads, .. } = config;
        reg.scope("decoder", |reg| Decoder {
            norm: LayerNorm::new(reg, group, "norm", dim),
            mlp: Mlp::new(reg, dim, Activation::Gelu, Init::xavier),
            blocks: (1..depth)
                .map(|i| reg.scope(format!("blocks.{i}"), |reg| Block::new(reg, dim, heads, Init::xavier)))
                .collect(),
            norm_out: LayerNorm::new(reg, group, "norm_out", dim),
            pixels: Linear::new(reg, group, "pixels", dim, pixels, Init::xavier(dim, pixels)),
        })
    }

    /// The mixed tokens (n, T, dim) -> patches of the normalised view 2, (n, T, pixels).
    pub fn forward(&self, p: &Arena, mixed: &Tensor) -> Tensor {
        let mlp = self.mlp.forward(p, &self.norm.forward(p, mixed));
        let mut x = Residual::with(mixed.shallow_clone(), mlp);
        for block in &self.blocks {
            x = block.forward(p, &x);
        }
        let [_, normed] = x.normalised(p, &self.norm_out);
        self.pixels.forward(p, &normed)
    }
}
