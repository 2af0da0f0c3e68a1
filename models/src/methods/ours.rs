//! The paper's method: L = lambda_ssl L_ssl(Z_inv1, Z_inv2) + lambda_recon MSE(decoder(Z_equi1, Z_equi2),
//! view 2).

use tch::Tensor;

use super::config::ModelConfig;
use super::joint::{LossConfig, Ssl};
use super::method::{Method, ReconstructionPair, Targets, Term};
use crate::arena::Arena;
use crate::decoder::{Decoder, DecoderConfig};
use crate::error::Result;
use crate::heads::{HeadConfig, Projector, TokenHead};
use crate::losses::mse;
use crate::registry::Registry;
use crate::vit::{Encoded, VitConfig, patchify, unpatchify};

pub struct Ours {
    ssl: Ssl,
    g_inv: Projector,
    reconstruction: Option<(TokenHead, Decoder)>,
    encoder: VitConfig,
    heads: HeadConfig,
    decoder: DecoderConfig,
    loss: LossConfig,
}

impl Ours {
    /// Without `reconstruction`, g_equi and the decoder are omitted.
    ///
    /// # Errors
    /// Fails if the decoder's configuration is invalid.
    pub fn new(reg: &mut Registry, config: &ModelConfig, ssl: Ssl, reconstruction: bool) -> Result<Self> {
        let (encoder, heads, decoder) = (config.encoder, config.heads, config.decoder);
        let g_inv = Projector::new(reg, "g_inv", encoder.half(), heads);
        let reconstruction = if reconstruction {
            let pixels = 3 * encoder.patch * encoder.patch;
            let g_equi = TokenHead::new(reg, "g_equi", encoder.half(), heads.hidden, decoder.dim);
            Some((g_equi, Decoder::new(reg, decoder, encoder.grid(), pixels)?))
        } else {
            None
        };
        Ok(Ours { ssl, g_inv, reconstruction, encoder, heads, decoder, loss: config.loss })
    }

    /// Patches of view 2, (n, T, 3 p p).
    fn decode(&self, p: &Arena, pair: ReconstructionPair<'_>) -> Option<Tensor> {
        let (g_equi, decoder) = self.reconstruction.as_ref()?;
        Some(decoder.forward(p, &g_equi.forward(p, pair.source), &g_equi.forward(p, pair.query)))
    }
}

impl Method for Ours {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, _targets: &Targets) -> Vec<Term> {
        let z_inv = |y: &Tensor| self.g_inv.forward(p, &y.narrow(1, 0, self.encoder.half()));
        let terms = self.ssl.terms(&z_inv(y1), &z_inv(y2), &self.loss);
        terms.into_iter().map(|(name, term)| (name, term * self.loss.lambda_ssl)).collect()
    }

    fn pair_term(&self, p: &Arena, view1: &Encoded, view2: &Encoded, images2: &Tensor) -> Option<Term> {
        let decoded = self.decode(p, ReconstructionPair { source: &view1.tokens, query: &view2.tokens })?;
        let target = patchify(images2, self.encoder.patch).to_kind(p.compute().master_kind());
        let loss = mse(&decoded.to_kind(p.compute().master_kind()), &target);
        Some(("reconstruction", loss * self.loss.lambda_recon))
    }

    fn reconstruct(&self, p: &Arena, pair: ReconstructionPair<'_>) -> Option<Tensor> {
        Some(unpatchify(&self.decode(p, pair)?, self.encoder.patch))
    }

    fn forward_flops(&self) -> f64 {
        let half = self.encoder.half();
        let tokens = self.encoder.grid() * self.encoder.grid();
        let heads = 2.0 * 2.0 * Projector::products(half, self.heads);
        if self.reconstruction.is_none() {
            return heads;
        }
        let token_head = TokenHead::products(half, self.heads.hidden, self.decoder.dim);
        let pixels = 3 * self.encoder.patch * self.encoder.patch;
        heads + 2.0 * (2 * tokens) as f64 * token_head + self.decoder.forward_flops(tokens, pixels)
    }
}
