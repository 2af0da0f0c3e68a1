//! The mixing of the two views' features: Eq. 1 of the paper, W_V Z1 weighted by softmax(W_Q Z2 (W_K Z1)^T).

use tch::Tensor;

use super::config::{DecoderConfig, Query};
use super::unfold::Unfolding;
use crate::arena::Arena;
use crate::error::Result;
use crate::heads::TokenHead;
use crate::init::Init;
use crate::layers::{LayerNorm, Linear, attention};
use crate::positions::SineCosineMap;
use crate::registry::{ParameterGroup, Registry};
use crate::vit::{Encoded, VitConfig};

/// g_equi and the cross-attention.
#[derive(Debug)]
pub(crate) struct Mixing {
    config: DecoderConfig,
    /// Fixed positions of the token map.
    positions: SineCosineMap,
    half: i64,
    g_equi: TokenHead,
    unfolding: Unfolding,
    norm_query: LayerNorm,
    norm_source: LayerNorm,
    query: Linear,
    key_value: Linear,
    proj: Linear,
}

impl Mixing {
    /// Registers g_equi with `hidden` hidden units, and the cross-attention under `decoder`.
    ///
    /// # Errors
    /// Same as [`DecoderConfig::validate`].
    pub(crate) fn new(
        reg: &mut Registry,
        config: DecoderConfig,
        encoder: &VitConfig,
        hidden: i64,
    ) -> Result<Self> {
        config.validate()?;
        let DecoderConfig { dim, query, unfold, .. } = config;
        // attention over the batch is computed on the gathered batch, by every rank
        let group = if query == Query::Batch { ParameterGroup::Global } else { ParameterGroup::PerSample };
        let linear = |reg: &mut Registry, name: &str, out| {
            Linear::new(reg, group, name, dim, out, Init::xavier(dim, out))
        };
        let (grid, half) = (encoder.grid(), encoder.half());
        let g_equi = TokenHead::new(reg, group, "g_equi", half, hidden, dim);
        Ok(reg.scope("decoder", |reg| Mixing {
            config,
            positions: SineCosineMap::new(grid, dim),
            half,
            g_equi,
            unfolding: Unfolding::new(reg, unfold, grid * grid, dim),
            norm_query: LayerNorm::new(reg, group, "norm_query", dim),
            norm_source: LayerNorm::new(reg, group, "norm_source", dim),
            query: linear(reg, "query", dim),
            key_value: linear(reg, "key_value", 2 * dim),
            proj: linear(reg, "proj", dim),
        }))
    }

    /// Whether pairs are mixed with the other pairs of the batch.
    pub(crate) fn needs_batch(&self) -> bool {
        self.config.query == Query::Batch
    }

    /// Mixes the views of each pair, for the queries `pooled` and `tokens`: n pairs -> (n, T, d).
    pub(crate) fn of_views(&self, p: &Arena, source: &Encoded, query: &Encoded) -> Tensor {
        let z1 = self.g_equi.forward(p, &source.tokens); // (n, T, d)
        let z2 = match self.config.query {
            Query::Tokens => self.g_equi.forward(p, &query.tokens),
            _ => self.unfolding.forward(p, &self.embed(p, &query.y)),
        };
        let positions = self.positions.like(&z1);
        self.attend(p, &(z1 + &positions), &(z2 + &positions))
    }

    /// Mixes the images of a batch, for the query `batch`: y of both views, (N, out) each -> (N, d).
    pub(crate) fn of_batch(&self, p: &Arena, y1: &Tensor, y2: &Tensor) -> Tensor {
        let z = |y: &Tensor| self.embed(p, y).unsqueeze(0); // (1, N, d)
        self.attend(p, &z(y1), &z(y2)).squeeze_dim(0)
    }

    /// Mixed vectors (n, d) -> (n, T, d).
    pub(crate) fn unfold(&self, p: &Arena, mixed: &Tensor) -> Tensor {
        self.unfolding.forward(p, mixed) + self.positions.like(mixed)
    }

    /// g_equi of the equivariant half of y: (n, out) -> (n, d).
    fn embed(&self, p: &Arena, y: &Tensor) -> Tensor {
        self.g_equi.forward(p, &y.narrow(1, self.half, self.half))
    }

    /// Eq. 1: keys and values from `source` (B, Tk, d), queries from `query` (B, Tq, d) -> (B, Tq, d). Only
    /// the values of view 1 are mixed, so view 2 is in the result only with `residual`.
    fn attend(&self, p: &Arena, source: &Tensor, query: &Tensor) -> Tensor {
        let DecoderConfig { dim, heads, scale, residual, .. } = self.config;
        let q = self.query.forward(p, &self.norm_query.forward(p, query));
        let kv = self.key_value.forward(p, &self.norm_source.forward(p, source)).chunk(2, -1);
        let x = self.proj.forward(p, &attention(&q, &kv[0], &kv[1], heads, scale.factor(dim / heads)));
        if residual { x + query } else { x }
    }
}
