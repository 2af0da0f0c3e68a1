//! Tokens of images, kept in half precision.

use std::cell::OnceCell;

use anyhow::{Result, bail, ensure};
use tch::{Kind, Tensor};

use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::representation::{FeatureEncoder, Representation};

/// Memory for tokens unless `--token-memory` says more or less, in GB.
pub const TOKEN_MEMORY: f64 = 8.0;

/// What to do if tokens take `needed` GB on the command line, where `less` says how they take less.
pub fn more_memory(needed: f64, less: &str) -> String {
    format!("give --token-memory {:.0}, or {less}", needed.ceil())
}

/// Bytes of a value.
const HALF: f64 = 2.0;

/// Represents an image by all its tokens, one after the other, in half precision.
pub struct Tokens<'a> {
    encoder: &'a FrozenEncoder,
    /// Number and width of an image's tokens.
    shape: [i64; 2],
    /// Mean and one over the standard deviation of every channel over the first images, (D). They make tokens
    /// fit into half precision, whatever their unit; probes standardise them themselves.
    scaling: OnceCell<[Tensor; 2]>,
}

impl<'a> Tokens<'a> {
    /// Those of `encoder`.
    ///
    /// # Errors
    /// An encoder without tokens.
    pub fn of(encoder: &'a FrozenEncoder) -> Result<Tokens<'a>> {
        let shape = match encoder.tokens_of_blank()?.size()[..] {
            [_, tokens, width] => [tokens, width],
            ref other => bail!("tokens have shape {other:?}, expected (N, T, D)"),
        };
        Ok(Tokens { encoder, shape, scaling: OnceCell::new() })
    }

    /// The encoder.
    pub fn encoder(&self) -> &'a FrozenEncoder {
        self.encoder
    }

    /// Number and width of an image's tokens.
    pub fn shape(&self) -> [i64; 2] {
        self.shape
    }

    /// Refuses to keep the tokens of `images` images if they take more than `memory` GB. `remedy` says what
    /// to do then, given the GB that they take.
    ///
    /// # Errors
    /// Too many tokens.
    pub fn check_memory(&self, images: usize, memory: f64, remedy: impl Fn(f64) -> String) -> Result<()> {
        let [tokens, width] = self.shape;
        let needed = HALF * images as f64 * (tokens * width) as f64 / 1e9;
        ensure!(
            needed <= memory,
            "attentive probes: {tokens} tokens of width {width} of {images} images take {needed:.1} GB, more \
             than the {memory} GB that are allowed\nhint: {}",
            remedy(needed)
        );
        Ok(())
    }
}

impl FeatureEncoder for Tokens<'_> {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let tokens = self.encoder.tokens(images)?; // (B, T, D)
        let [mean, rate] = self.scaling.get_or_init(|| {
            let rows = tokens.flatten(0, 1);
            let std = rows.std_dim([0i64].as_slice(), false, false);
            let std = std.where_self(&std.gt(0.0), &std.ones_like());
            [rows.mean_dim([0i64].as_slice(), false, None), std.reciprocal()]
        });
        let y = ((tokens - mean) * rate).to_kind(Kind::Half).flatten(1, 2);
        Ok(Representation { y, grid: None })
    }
}
