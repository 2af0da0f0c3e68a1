//! The leading principal components of features.

use crate::checks::{finite, matrix, wrong_shape};
use crate::error::{Result, TensorRole};
use crate::principal_axes::PrincipalAxes;
use tch::{Kind, Tensor};

const NAME: &str = "principal components";

/// The K directions along which features vary most.
pub struct PrincipalComponents {
    /// (1, D), f64
    mean: Tensor,
    /// (D, K), f64, one direction of length 1 per column
    axes: Tensor,
    /// Variance along each direction (divisor N), descending.
    pub variance: Vec<f64>,
}

impl PrincipalComponents {
    /// The first `count` components of `x` (N, D). The covariance and its eigenvectors are computed in f64.
    /// An eigenvector has no sign; here its largest entry is positive.
    ///
    /// # Errors
    /// Fewer than `count` columns or at most `count` rows, values that are not finite.
    pub fn fit(x: &Tensor, count: usize) -> Result<PrincipalComponents> {
        let (rows, columns) = matrix(NAME, TensorRole::TrainFeatures, x)?;
        let count = count as i64;
        if rows <= count || columns < count {
            let expected = format!("more than {count} rows and at least {count} columns");
            return Err(wrong_shape(NAME, TensorRole::TrainFeatures, x, expected));
        }
        finite(NAME, TensorRole::TrainFeatures, x)?;
        Ok(tch::no_grad(|| {
            let PrincipalAxes { mean, unit, axes, variance } = PrincipalAxes::new(x);
            // eigenvalues come in ascending order
            let leading = axes.narrow(1, columns - count, count).flip([1i64]);
            let largest = leading.gather(0, &leading.abs().argmax(0, true), false);
            let variance = variance.narrow(0, columns - count, count).flip([0i64]) * (unit * unit);
            PrincipalComponents {
                mean,
                axes: leading * largest.sign(),
                variance: Vec::try_from(variance.to_device(tch::Device::Cpu)).expect("a row of f64"),
            }
        }))
    }

    /// Coordinates (M, K) of features (M, D) along the components, f64.
    pub fn scores(&self, x: &Tensor) -> Tensor {
        (x.to_kind(Kind::Double) - &self.mean).matmul(&self.axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Rows (30, 6) whose columns have different scales and depend on each other.
    fn features() -> Tensor {
        let wave = (Tensor::arange(180, (Kind::Double, test_device())) * 1.7).sin().view([30, 6]);
        let mixed =
            wave.matmul(&(Tensor::arange(36, (Kind::Double, test_device())) * 0.9).cos().view([6, 6]));
        mixed * test_tensor(&[3.0, 1.0, 0.5, 2.0, 0.1, 1.5]) + 7.0
    }

    /// The scores are U S of the singular value decomposition of the centred features, up to the sign.
    #[test]
    fn scores_are_those_of_the_singular_value_decomposition() {
        let x = features();
        let components = PrincipalComponents::fit(&x, 4).unwrap();
        let (u, s, _) = (&x - x.mean_dim(&[0i64][..], true, Kind::Double)).svd(true, true);
        let expected = (u * &s).narrow(1, 0, 4);
        let found = components.scores(&x);
        let signs = (&found * &expected).sum_dim_intlist(&[0i64][..], true, Kind::Double).sign();
        assert!((&found - expected * signs).abs().max().double_value(&[]) < 1e-9);
        for (k, variance) in components.variance.iter().enumerate() {
            assert!((variance - s.double_value(&[k as i64]).powi(2) / 30.0).abs() < 1e-9, "component {k}");
        }
        assert!(components.variance.is_sorted_by(|a, b| a > b), "{:?}", components.variance);
    }

    /// The mirrored features have the mirrored scores: the sign belongs to the direction, not to the rows.
    #[test]
    fn signs_are_fixed() {
        let x = features();
        let scores = |x: &Tensor| PrincipalComponents::fit(x, 3).unwrap().scores(x);
        assert!((scores(&x) + scores(&-&x)).abs().max().double_value(&[]) < 1e-9);
    }

    #[test]
    fn more_components_than_there_are_is_refused() {
        let x = features();
        let refused = |x: &Tensor, count| PrincipalComponents::fit(x, count).err().unwrap().to_string();
        assert!(refused(&x, 7).contains("at least 7 columns"));
        assert!(refused(&x.narrow(0, 0, 4), 4).contains("more than 4 rows"));
    }
}
