//! Effective rank of representations, which detects collapse.

use tch::{Device, Kind, Tensor};

/// Effective rank of `y` (N, D): the exponential of the entropy of the singular values of the centred y,
/// normalised to sum 1 (Roy and Vetterli 2007). It is between 1 and min(N - 1, D), or 0 if all rows are
/// equal.
pub fn effective_rank(y: &Tensor) -> f64 {
    let y = y.to_device(Device::Cpu).to_kind(Kind::Double);
    let centred = &y - y.mean_dim([0i64].as_slice(), true, None);
    let (rows, columns) = centred.size2().expect("y is (N, D)");
    // singular values are the square roots of the eigenvalues of the smaller Gram matrix
    let gram = if rows < columns { centred.matmul(&centred.tr()) } else { centred.tr().matmul(&centred) };
    let squares: Vec<f64> = Vec::try_from(gram.linalg_eigvalsh("L")).expect("a row of eigenvalues");
    // eigenvalues below this are zero up to rounding
    let floor = squares.last().copied().unwrap_or(0.0) * 1e-14;
    let values: Vec<f64> = squares.into_iter().filter(|&square| square > floor).map(f64::sqrt).collect();
    let sum: f64 = values.iter().sum();
    if values.is_empty() {
        return 0.0;
    }
    values.iter().map(|value| value / sum).map(|p| -p * p.ln()).sum::<f64>().exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    #[test]
    fn effective_rank_counts_directions() {
        // rows ±e_i: d directions with equal singular values
        for d in [1, 3, 8] {
            let eye = Tensor::eye(d, (Kind::Float, test_device()));
            let y = Tensor::cat(&[&eye, &-&eye], 0);
            assert!((effective_rank(&y) - d as f64).abs() < 1e-6, "{d}");
        }
        // singular values 3 and 1: entropy of (3/4, 1/4), written out
        let y = test_tensor(&[3.0f32, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, -1.0]).view([4, 2]);
        let expected = (-(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
        assert!((effective_rank(&(y + 5.0)) - expected).abs() < 1e-6);
        assert_eq!(effective_rank(&Tensor::ones([6, 4], (Kind::Float, test_device()))), 0.0);
    }
}
