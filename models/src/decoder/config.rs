//! `[model.decoder]`: shape of the decoder, and the reading of the paper's Eq. 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::heads::TokenHead;
use crate::vit::block_products;

/// Shape of a decoder. The paper uses 6 blocks of width 192 (for the number of heads, see protocol section
/// 2). The default reading of Eq. 1 is the one that docs/results.md chose on validation images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecoderConfig {
    /// Number of blocks, including the cross-attention block.
    pub depth: i64,
    /// Width of a token, which is also the length of Z_equi.
    pub dim: i64,
    /// Attention heads.
    pub heads: i64,
    /// What the queries are made of.
    pub query: Query,
    /// What the keys and values are made of.
    #[serde(skip_serializing_if = "is_default")]
    pub source: Source,
    /// Whether the queries are added to the attention's output.
    pub residual: bool,
    /// How one vector of an image becomes a vector at every position.
    pub unfold: Unfold,
    /// Scale of the attention's scores.
    pub scale: AttentionScale,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the queries of Eq. 1 are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// The pooled equivariant half of y of view 2, one vector an image: all that the decoder knows of view 2
    /// passes through the vector that probes read. Keys and values are the tokens of view 1.
    #[default]
    Pooled,
    /// Every token of view 2. The attention weights then carry view 2 token by token past the pooled vector.
    Tokens,
    /// The pooled vectors of the whole batch on both sides: attention over the images of the batch.
    Batch,
}

/// What the keys and values of Eq. 1 are made of, for the queries [`Query::Pooled`] and [`Query::Tokens`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Every token of view 1.
    #[default]
    Tokens,
    /// One vector of view 1. Refused, see [`DecoderConfig::validate`].
    Pooled,
}

/// How one vector z (d) of an image becomes a vector at each of T positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unfold {
    /// The same vector everywhere.
    None,
    /// z times G_t, element by element, with G (T, d) learned from N(0, 1).
    Gates,
    /// W_t z, with a learned map W_t (d, d) for every position.
    #[default]
    Linear,
}

/// Scale of the attention's scores in the mixing of the views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionScale {
    /// 1/sqrt(d_head).
    #[default]
    Sqrt,
    /// 1, which is Eq. 1 to the letter.
    None,
}

impl AttentionScale {
    /// The factor on the scores of heads of width `depth`.
    pub(crate) fn factor(self, depth: i64) -> f64 {
        match self {
            AttentionScale::Sqrt => 1.0 / (depth as f64).sqrt(),
            AttentionScale::None => 1.0,
        }
    }
}

impl Default for DecoderConfig {
    fn default() -> Self {
        DecoderConfig {
            depth: 6,
            dim: 192,
            heads: 3,
            query: Query::default(),
            source: Source::default(),
            residual: false,
            unfold: Unfold::default(),
            scale: AttentionScale::default(),
        }
    }
}

impl DecoderConfig {
    /// Checks every value against its range, and that the reading of Eq. 1 can work.
    ///
    /// # Errors
    /// Fails if a value is out of range, and names it. Fails if both views are pooled: the softmax over a
    /// single key is 1, so the query has no effect and view 2 cannot be known.
    pub fn validate(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::Invalid(text));
        if self.depth < 1 {
            return invalid(format!("decoder.depth = {}: must be at least 1", self.depth));
        }
        if self.heads < 1 || self.dim < 4 || self.dim % self.heads != 0 || self.dim % 4 != 0 {
            let (dim, heads) = (self.dim, self.heads);
            return invalid(format!(
                "decoder.dim = {dim} must be a multiple of 4 and of decoder.heads = {heads}"
            ));
        }
        if self.source == Source::Pooled {
            return invalid(
                "decoder.source = \"pooled\": view 1 would be a single key. The softmax over one key is 1, so \
                 the query would have no effect and view 2 could not be known\n\
                 hint: leave decoder.source out; decoder.query = \"batch\" pools both views and attends over \
                 the batch"
                    .into(),
            );
        }
        if self.query == Query::Tokens && self.unfold != Unfold::None {
            return invalid(
                "decoder.unfold is for one vector an image, but decoder.query = \"tokens\" has one for every \
                 position\nhint: set decoder.unfold = \"none\", or use decoder.query = \"pooled\""
                    .into(),
            );
        }
        Ok(())
    }

    /// Floating-point operations (multiplications and additions) in the matrix products that reconstruct one
    /// view, which has `tokens` tokens with `pixels` values each, from the equivariant halves of `half`
    /// values. g_equi has `hidden` hidden units. The attention over a batch is left out: it is 4 d N
    /// operations a pair, far below one block's.
    pub(crate) fn forward_flops(&self, tokens: i64, pixels: i64, half: i64, hidden: i64) -> f64 {
        let (t, d) = (tokens as f64, self.dim as f64);
        let block = block_products(t, d);
        let mlp = 8.0 * t * d * d;
        let (embedded, mixing) = match self.query {
            Query::Tokens => (2.0 * t, block - mlp),
            Query::Pooled => (t + 1.0, block - mlp),
            Query::Batch => (2.0, 4.0 * d * d),
        };
        let unfold = if self.unfold == Unfold::Linear { t * d * d } else { 0.0 };
        let g_equi = embedded * TokenHead::products(half, hidden, self.dim);
        let rest = mlp + (self.depth - 1) as f64 * block + t * d * pixels as f64;
        2.0 * (g_equi + unfold + mixing + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_that_cannot_work_are_refused_with_their_reason() {
        let paper = DecoderConfig::default();
        for (config, says) in [
            (DecoderConfig { depth: 0, ..paper }, "decoder.depth = 0"),
            (DecoderConfig { heads: 5, ..paper }, "decoder.heads = 5"),
            (DecoderConfig { source: Source::Pooled, ..paper }, "The softmax over one key is 1"),
            (
                DecoderConfig { query: Query::Tokens, unfold: Unfold::Gates, ..paper },
                "decoder.unfold is for one vector an image",
            ),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for query in [Query::Pooled, Query::Batch] {
            for unfold in [Unfold::None, Unfold::Gates, Unfold::Linear] {
                assert!(DecoderConfig { query, unfold, ..paper }.validate().is_ok());
            }
        }
    }

    /// 2 tokens of width 4 with 3 pixel values; halves of 5 values, 6 hidden units, two blocks.
    #[test]
    fn products_of_the_readings_by_hand() {
        let config = DecoderConfig { depth: 2, dim: 4, heads: 1, ..DecoderConfig::default() };
        let flops = |query, unfold| DecoderConfig { query, unfold, ..config }.forward_flops(2, 3, 5, 6);
        // one token of g_equi: 5 * 6 + 6 * 4; a block: 12 T d^2 + 2 T^2 d; without its MLP: 4 T d^2 + 2 T^2 d
        let (token, block, mixing, mlp, pixels) = (54.0, 416.0, 160.0, 256.0, 24.0);
        let expected = |embedded: f64, mixing: f64| 2.0 * (embedded * token + mixing + mlp + block + pixels);
        assert_eq!(flops(Query::Tokens, Unfold::None), expected(4.0, mixing));
        assert_eq!(flops(Query::Pooled, Unfold::Gates), expected(3.0, mixing));
        assert_eq!(flops(Query::Pooled, Unfold::Linear), expected(3.0, mixing + 32.0));
        assert_eq!(flops(Query::Batch, Unfold::None), expected(2.0, 64.0));
    }
}
