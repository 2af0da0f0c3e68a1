//! The paper's method: L = lambda_ssl L_ssl(Z_inv1, Z_inv2) + lambda_recon MSE(decoder(Z_equi1, Z_equi2),
//! view 2).

use tch::Tensor;

use super::config::ModelConfig;
use super::joint::{LossConfig, Ssl};
use super::kind::OursVariant;
use super::method::{Method, PairInput, Targets, Term};
use crate::arena::Arena;
use crate::decoder::{Decoder, DecoderConfig, Mixing, Query};
use crate::error::{Error, Result};
use crate::heads::{HeadConfig, Projector};
use crate::losses::mse;
use crate::registry::Registry;
use crate::vit::{Encoded, VitConfig, patchify, unpatchify};

pub struct Ours {
    ssl: Ssl,
    g_inv: Projector,
    reconstruction: Option<(Mixing, Decoder)>,
    variant: OursVariant,
    encoder: VitConfig,
    heads: HeadConfig,
    decoder: DecoderConfig,
    loss: LossConfig,
}

impl Ours {
    /// [`OursVariant::NoReconstruction`] has neither g_equi nor a decoder. The other variants differ in their
    /// data.
    ///
    /// # Errors
    /// Fails if the decoder's configuration is invalid, or if it has no view 1 of another pair.
    pub fn new(reg: &mut Registry, config: &ModelConfig, ssl: Ssl, variant: OursVariant) -> Result<Self> {
        let (encoder, heads, decoder) = (config.encoder, config.heads, config.decoder);
        if variant == OursVariant::OtherView1 && decoder.query == Query::Batch {
            return Err(Error::Invalid(
                "`Ours, other view 1` with decoder.query = \"batch\": attention over the batch does not \
                 depend on the order of the images, so the row would be the same as Ours\n\
                 hint: leave the row out, or use decoder.query = \"pooled\""
                    .into(),
            ));
        }
        let g_inv = Projector::new(reg, "g_inv", encoder.half(), heads);
        let reconstruction = if variant == OursVariant::NoReconstruction {
            None
        } else {
            let pixels = 3 * encoder.patch * encoder.patch;
            let mixing = Mixing::new(reg, decoder, &encoder, heads.hidden)?;
            Some((mixing, Decoder::new(reg, decoder, pixels)))
        };
        Ok(Ours { ssl, g_inv, reconstruction, variant, encoder, heads, decoder, loss: config.loss })
    }

    /// Patches of view 2, (n, T, 3 p p).
    fn decode(&self, p: &Arena, pair: PairInput<'_>) -> Option<Tensor> {
        let (mixing, decoder) = self.reconstruction.as_ref()?;
        let mixed = match pair {
            PairInput::Views { source, query } => mixing.of_views(p, source, query),
            PairInput::Mixed(mixed) => mixing.unfold(p, &mixed.to_kind(p.compute().kind())),
        };
        Some(decoder.forward(p, &mixed))
    }
}

impl Method for Ours {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, _targets: &Targets) -> Vec<Term> {
        let z_inv = |y: &Tensor| self.g_inv.forward(p, &y.narrow(1, 0, self.encoder.half()));
        let terms = self.ssl.terms(&z_inv(y1), &z_inv(y2), &self.loss);
        terms.into_iter().map(|(name, term)| (name, term * self.loss.lambda_ssl)).collect()
    }

    fn takes_other_view1(&self) -> bool {
        self.variant == OursVariant::OtherView1
    }

    fn mixes_batch(&self) -> bool {
        self.reconstruction.as_ref().is_some_and(|(mixing, _)| mixing.needs_batch())
    }

    fn mixed(&self, p: &Arena, y1: &Tensor, y2: &Tensor) -> Option<Tensor> {
        let (mixing, _) = self.reconstruction.as_ref()?;
        mixing.needs_batch().then(|| mixing.of_batch(p, y1, y2))
    }

    fn pair_term(&self, p: &Arena, pair: PairInput<'_>, images2: &Tensor) -> Option<Term> {
        let decoded = self.decode(p, pair)?;
        let target = patchify(images2, self.encoder.patch).to_kind(p.compute().master_kind());
        let loss = mse(&decoded.to_kind(p.compute().master_kind()), &target);
        Some(("reconstruction", loss * self.loss.lambda_recon))
    }

    fn reconstruct(&self, p: &Arena, source: &Encoded, query: &Encoded) -> Option<Tensor> {
        let y = |view: &Encoded| view.y.to_kind(p.compute().master_kind());
        let decoded = match self.mixed(p, &y(source), &y(query)) {
            Some(mixed) => self.decode(p, PairInput::Mixed(&mixed))?,
            None => self.decode(p, PairInput::Views { source, query })?,
        };
        Some(unpatchify(&decoded, self.encoder.patch))
    }

    fn forward_flops(&self) -> f64 {
        let half = self.encoder.half();
        let heads = 2.0 * 2.0 * Projector::products(half, self.heads);
        if self.reconstruction.is_none() {
            return heads;
        }
        let tokens = self.encoder.grid() * self.encoder.grid();
        let pixels = 3 * self.encoder.patch * self.encoder.patch;
        heads + self.decoder.forward_flops(tokens, pixels, half, self.heads.hidden)
    }
}
