//! The reconstruction decoder. Cross-attention mixes the tokens of the two views (Eq. 1 of the paper),
//! self-attention blocks follow, and a linear layer outputs the pixels of view 2.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::layers::{Block, LayerNorm, Linear, Mlp, attention};
use crate::positions::sine_cosine_map;
use crate::registry::{ParameterGroup, Registry};
use crate::vit::block_products;

/// Shape of a decoder. The paper uses 6 blocks of width 192 (for the number of heads, see protocol section
/// 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Number of blocks, including the cross-attention block.
    pub depth: i64,
    /// Width of a token, which is also the length of Z_equi's tokens.
    pub dim: i64,
    /// Attention heads.
    pub heads: i64,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        DecoderConfig { depth: 6, dim: 192, heads: 3 }
    }
}

impl DecoderConfig {
    /// # Errors
    /// Fails if a value is out of range, and names it.
    pub fn validate(&self) -> Result<()> {
        if self.depth < 1 {
            return Err(Error::Invalid(format!("decoder.depth = {}: must be at least 1", self.depth)));
        }
        if self.heads < 1 || self.dim < 4 || self.dim % self.heads != 0 || self.dim % 4 != 0 {
            let (dim, heads) = (self.dim, self.heads);
            let text = format!("decoder.dim = {dim} must be a multiple of 4 and of decoder.heads = {heads}");
            return Err(Error::Invalid(text));
        }
        Ok(())
    }

    /// Floating-point operations (multiplications and additions) in the matrix products that reconstruct one
    /// view, which has `tokens` tokens with `pixels` values each.
    pub fn forward_flops(&self, tokens: i64, pixels: i64) -> f64 {
        let (tokens, dim) = (tokens as f64, self.dim as f64);
        2.0 * (self.depth as f64 * block_products(tokens, dim) + tokens * dim * pixels as f64)
    }
}

/// A cross-attention block, self-attention blocks and an output layer that predicts pixels.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecoderConfig,
    grid: i64,
    norm_query: LayerNorm,
    norm_source: LayerNorm,
    query: Linear,
    key_value: Linear,
    proj: Linear,
    norm: LayerNorm,
    mlp: Mlp,
    blocks: Vec<Block>,
    norm_out: LayerNorm,
    pixels: Linear,
}

impl Decoder {
    /// A decoder from `grid` x `grid` tokens to patches of `pixels` values each, registered under `decoder`.
    ///
    /// # Errors
    /// Same as [`DecoderConfig::validate`].
    pub fn new(reg: &mut Registry, config: DecoderConfig, grid: i64, pixels: i64) -> Result<Self> {
        config.validate()?;
        let group = ParameterGroup::PerSample;
        let DecoderConfig { depth, dim, heads } = config;
        let linear = |reg: &mut Registry, name: &str, out| {
            Linear::new(reg, group, name, dim, out, Init::xavier(dim, out))
        };
        Ok(reg.scope("decoder", |reg| Decoder {
            config,
            grid,
            norm_query: LayerNorm::new(reg, group, "norm_query", dim),
            norm_source: LayerNorm::new(reg, group, "norm_source", dim),
            query: linear(reg, "query", dim),
            key_value: linear(reg, "key_value", 2 * dim),
            proj: linear(reg, "proj", dim),
            norm: LayerNorm::new(reg, group, "norm", dim),
            mlp: Mlp::new(reg, dim, Init::xavier),
            blocks: (1..depth)
                .map(|i| reg.scope(format!("blocks.{i}"), |reg| Block::new(reg, dim, heads, Init::xavier)))
                .collect(),
            norm_out: LayerNorm::new(reg, group, "norm_out", dim),
            pixels: linear(reg, "pixels", pixels),
        }))
    }

    /// Z_equi of view 1 and of view 2, (N, T, dim) each -> patches of the normalised view 2, (N, T, pixels).
    pub fn forward(&self, p: &Arena, view1: &Tensor, view2: &Tensor) -> Tensor {
        let positions = sine_cosine_map(self.grid, self.config.dim, view1);
        let query = self.query.forward(p, &self.norm_query.forward(p, &(view2 + &positions)));
        let key_value =
            self.key_value.forward(p, &self.norm_source.forward(p, &(view1 + &positions))).chunk(2, -1);
        // Eq. 1 mixes only the values of view 1, so there is no residual connection from the query
        let x = self.proj.forward(p, &attention(&query, &key_value[0], &key_value[1], self.config.heads));
        let mut x = &x + self.mlp.forward(p, &self.norm.forward(p, &x));
        for block in &self.blocks {
            x = block.forward(p, &x);
        }
        self.pixels.forward(p, &self.norm_out.forward(p, &x))
    }
}
