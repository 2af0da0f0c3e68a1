//! Attentive pooling: the multi-head attention of one learned query over the tokens of an image.
//!
//! For the head h with its query q_h, and tokens x_t standardised per channel,
//!
//! ```text
//! a_ht = softmax_t <q_h, K_h x_t> / sqrt(d_h),   p = concat_h  V_h sum_t a_ht x_t.
//! ```
//!
//! One query makes attention cheap: K_h enters as K_h' q_h, and V_h is applied after the sum, so that no
//! token is ever mapped. Neither is any standardised: the softmax does not see an offset of all tokens, and
//! weights that sum to 1 let the mean be subtracted after the sum.

use tch::{Device, Kind, Tensor};

use crate::draws::linear_layer;
use crate::scaling::Scaler;

/// Most attention heads, as AIM has them. A width that is no multiple of it has fewer.
const HEADS: i64 = 12;

/// The query with its projections, for tokens of width D.
pub(crate) struct Pooling {
    /// K, (D, D): the rows of each head are together.
    key: Tensor,
    /// V, (D, D).
    value: Tensor,
    /// q, (1, D).
    query: Tensor,
    /// Mean of each channel, (1, 1, D).
    mean: Tensor,
    /// One over the standard deviation of each channel, (1, 1, D).
    rate: Tensor,
}

impl Pooling {
    /// K, V and q as torch's `Linear` draws its weights, as the layers from `layer` on.
    pub(crate) fn draw(seed: u64, layer: u64, width: i64, device: Device) -> [Tensor; 3] {
        let weight = |place, outputs| linear_layer(seed, layer + place, width, outputs, device).0;
        [weight(0, width), weight(1, width), weight(2, 1)]
    }

    /// A pooling with the parameters K, V and q, of tokens that `scaler` was fitted to.
    pub(crate) fn new([key, value, query]: [Tensor; 3], scaler: &Scaler) -> Pooling {
        let (mean, rate) = scaler.mean_and_rate();
        let per_channel = |t: Tensor| t.view([1, 1, -1]);
        Pooling { key, value, query, mean: per_channel(mean), rate: per_channel(rate) }
    }

    /// Tokens (B, T, D), float32 -> pooled features (B, D).
    pub(crate) fn pool(&self, tokens: &Tensor) -> Tensor {
        let Pooling { key, value, query, mean, rate } = self;
        let [batch, _, width] = tokens.size()[..] else { unreachable!("tokens are (B, T, D)") };
        let heads = heads(width);
        let depth = width / heads;
        let of_heads = |weight: &Tensor| weight.view([heads, depth, width]);
        // (H, 1, d) (H, d, D) -> (1, H, D): what every token is compared with
        let compared = query.view([heads, 1, depth]).bmm(&of_heads(key)).view([1, heads, width]);
        let compared = compared * rate / (depth as f64).sqrt();
        let scores = tokens.matmul(&compared.squeeze_dim(0).tr()); // (B, T, H)
        let weights = scores.softmax(1, Kind::Float).transpose(1, 2);
        let mixed = (weights.bmm(tokens) - mean) * rate; // (B, H, D)
        let pooled = mixed.transpose(0, 1).bmm(&of_heads(value).transpose(1, 2)); // (H, B, d)
        pooled.transpose(0, 1).reshape([batch, width])
    }
}

/// Number of attention heads for tokens of width `width`: the largest up to 12 that divides it.
fn heads(width: i64) -> i64 {
    (1..=HEADS).rev().find(|heads| width % heads == 0).expect("1 divides every width")
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    fn noise(size: &[i64], frequency: f64) -> Tensor {
        let count: i64 = size.iter().product();
        let wave = (Tensor::arange(count, (Kind::Double, test_device())) * frequency).sin() * 43_758.545_3;
        let unit: Tensor = &wave - wave.floor();
        (unit * 2.0 - 1.0).to_kind(Kind::Float).view(size)
    }

    /// Tokens with an offset, and channels of unequal spread.
    fn tokens() -> Tensor {
        noise(&[6, 7, 24], 12.9898) * noise(&[24], 0.7).exp() + 3.0
    }

    fn standardised(tokens: &Tensor) -> Tensor {
        let rows = tokens.flatten(0, 1);
        let mean = rows.mean_dim([0i64].as_slice(), true, None);
        let std = rows.std_dim([0i64].as_slice(), false, true);
        ((rows - mean) / std).view_as(tokens)
    }

    /// A pooling whose weights are `factor` times those drawn.
    fn pooling(tokens: &Tensor, factor: f64) -> Pooling {
        let drawn = Pooling::draw(3, 0, tokens.size()[2], test_device()).map(|weight| weight * factor);
        Pooling::new(drawn, &Scaler::fit(&tokens.flatten(0, 1)))
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!(a.size(), b.size());
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn pooling_is_torchs_attention_of_one_query() {
        let tokens = tokens();
        let pooling = pooling(&tokens, 8.0); // so that attention is far from uniform
        assert_eq!(heads(24), 12);
        let of_heads = |x: &Tensor| x.view([6, -1, 12, 2]).transpose(1, 2); // (B, H, T, d)
        let x = standardised(&tokens);
        let [keys, values] = [&pooling.key, &pooling.value].map(|weight| of_heads(&x.matmul(&weight.tr())));
        let query = pooling.query.expand([6, 24], false);
        let expected = Tensor::scaled_dot_product_attention(
            &of_heads(&query),
            &keys,
            &values,
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        let expected = expected.transpose(1, 2).reshape([6, 24]);
        assert!(worst(&pooling.pool(&tokens), &expected) < 1e-4 * expected.abs().max().double_value(&[]));
    }

    #[test]
    fn a_query_of_zeros_takes_the_mean() {
        let tokens = tokens();
        let drawn = pooling(&tokens, 1.0);
        let pooling = Pooling { query: drawn.query.zeros_like(), ..drawn };
        let mean = standardised(&tokens).mean_dim([1i64].as_slice(), false, None);
        assert!(worst(&pooling.pool(&tokens), &mean.matmul(&pooling.value.tr())) < 1e-5);
    }
}
