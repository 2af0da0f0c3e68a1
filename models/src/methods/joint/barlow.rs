//! Barlow Twins (Zbontar et al. 2021): L = sum_d (1 - C_dd)^2 + lambda sum_{d != e} C_de^2, with C (D, D) the
//! cross-correlation of the two views' embeddings over the batch.

use tch::{Kind, Tensor};

use crate::methods::method::Term;

/// The epsilon that BatchNorm adds to the variance. The paper's code normalises with a BatchNorm without
/// weights.
const EPS: f64 = 1e-5;

/// The on-diagonal and the off-diagonal term. z1, z2: (N, D).
pub fn terms(z1: &Tensor, z2: &Tensor, lambda: f64) -> Vec<Term> {
    let n = z1.size()[0] as f64;
    let correlation = standardised(z1).transpose(0, 1).matmul(&standardised(z2)) / n; // (D, D)
    let diagonal = correlation.diagonal(0, 0, 1);
    let others = correlation.square().sum(None::<Kind>) - diagonal.square().sum(None::<Kind>);
    vec![("on-diagonal", (1f64 - diagonal).square().sum(None::<Kind>)), ("off-diagonal", others * lambda)]
}

/// Standardises every dimension to mean 0 and variance 1 over the batch. x: (N, D) -> (N, D).
fn standardised(x: &Tensor) -> Tensor {
    let centred = x - x.mean_dim([0i64].as_slice(), true, None);
    let variance = centred.square().mean_dim([0i64].as_slice(), true, None);
    centred / (variance + EPS).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_device::test_device::test_tensor;

    /// Two samples whose dimensions take the values +-a and +-b. Up to EPS, every entry of C is 1 or -1.
    #[test]
    fn the_loss_of_perfectly_correlated_dimensions_by_hand() {
        let z = test_tensor(&[2.0, 300.0, -2.0, -300.0]).view([2, 2]);
        let (on, off) = (4.0 / (4.0 + EPS), 9e4 / (9e4 + EPS));
        let found: Vec<f64> =
            terms(&z, &z, 0.0051).iter().map(|(_, term)| f64::try_from(term).unwrap()).collect();
        let expected = [(1.0 - on).powi(2) + (1.0 - off).powi(2), 0.0051 * 2.0 * on * off];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
