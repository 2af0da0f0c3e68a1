//! Losses on embeddings of the global batch, fp32 or f64.

use tch::{Kind, Tensor};

/// V(x) = mean over dimensions of relu(1 - sqrt(var + 1e-4)), where var is the unbiased variance over the
/// batch. x: (N, D) -> scalar. (Bardes et al. 2022, Eq. 1)
pub fn variance(x: &Tensor) -> Tensor {
    let var = x.var_dim([0i64].as_slice(), true, false);
    (1f64 - (var + 1e-4).sqrt()).relu().mean(None::<Kind>)
}

/// Sum of the squared off-diagonal entries of Cov(x), divided by D. x: (N, D) -> scalar. (Bardes et al. 2022,
/// Eqs. 3, 4)
pub fn covariance(x: &Tensor) -> Tensor {
    let (n, d) = x.size2().expect("embeddings are (N, D)");
    let centred = x - x.mean_dim([0i64].as_slice(), true, None);
    let cov = centred.transpose(0, 1).matmul(&centred) / (n - 1) as f64; // (D, D)
    let diagonal = cov.diagonal(0, 0, 1).square().sum(None::<Kind>);
    (cov.square().sum(None::<Kind>) - diagonal) / d as f64
}

/// Mean squared difference over all elements.
pub fn mse(x: &Tensor, target: &Tensor) -> Tensor {
    x.mse_loss(target, tch::Reduction::Mean)
}

/// Mean cross-entropy of logits (N, C) against labels (N).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.cross_entropy_loss(labels, None::<&Tensor>, tch::Reduction::Mean, -100, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_device::test_device::test_tensor;

    /// Four points in two dimensions, worked out by hand.
    #[test]
    fn variance_and_covariance_of_a_small_batch() {
        let x = test_tensor(&[0.1, 0.0, -0.1, 0.2, 0.3, 0.0, -0.3, -0.2]).view([4, 2]);
        let (va, vb) = (0.2 / 3.0, 0.08 / 3.0);
        let expected = ((1.0 - (va + 1e-4f64).sqrt()) + (1.0 - (vb + 1e-4f64).sqrt())) / 2.0;
        assert!((f64::try_from(variance(&x)).unwrap() - expected).abs() < 1e-12);
        // off-diagonal: (0 - 0.02 + 0 + 0.06) / 3, twice, squared, over D = 2
        let cross = 0.04 / 3.0;
        assert!((f64::try_from(covariance(&x)).unwrap() - cross * cross).abs() < 1e-12);
    }
}
