//! SimCLR (Chen et al. 2020): NT-Xent. The loss is a classification of each of the 2N embeddings against the
//! 2N - 1 others, with its partner as the correct class: L = mean_i -log( exp(s(i, partner of i) / t) /
//! sum_{k != i} exp(s(i, k) / t) ), where s is the cosine similarity and t the temperature.

use tch::{Kind, Tensor};

use crate::losses::cross_entropy;
use crate::methods::method::Term;

/// The only term of the loss. z1, z2: (N, D).
pub fn terms(z1: &Tensor, z2: &Tensor, temperature: f64) -> Vec<Term> {
    let z = Tensor::cat(&[z1, z2], 0);
    let directions = &z / z.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12);
    let similarity = directions.matmul(&directions.transpose(0, 1)) / temperature; // (2N, 2N)
    let (pairs, device) = (z1.size()[0], z.device());
    let itself = Tensor::eye(2 * pairs, (Kind::Bool, device));
    let partner = Tensor::arange(2 * pairs, (Kind::Int64, device)).roll([pairs], [0]);
    vec![("contrast", cross_entropy(&similarity.masked_fill(&itself, f64::NEG_INFINITY), &partner))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_device::test_device::test_tensor;

    /// Two pairs along the axes of a plane, with arbitrary lengths. Each embedding has similarity 1 to its
    /// partner and 0 to the two others.
    #[test]
    fn the_loss_of_two_orthogonal_pairs_by_hand() {
        let z1 = test_tensor(&[3.0, 0.0, 0.0, 0.5]).view([2, 2]);
        let z2 = test_tensor(&[1.0, 0.0, 0.0, 7.0]).view([2, 2]);
        let expected = (1.0 + 2.0 * (-1.0f64 / 0.5).exp()).ln();
        let found = f64::try_from(&terms(&z1, &z2, 0.5)[0].1).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}
