//! The two definitions of R2 (protocol section 4) and the constant predictor.

use crate::checks::{expect_shape, finite, matrix};
use crate::error::{Result, TensorRole};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Coefficients of determination of one set of predictions, each in (-inf, 1]. `None` means undefined,
/// because the target does not vary. It is not the same as 0 or NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct R2 {
    /// 1 - (sum of all squared residuals) / (sum over samples and outputs of (target - m)^2), with a single
    /// mean m over all samples and outputs. This is the definition in SIE's code (Garrido et al. 2023). If
    /// outputs have different means, even a constant predictor scores above 0, see [`constant_predictor`].
    pub pooled: Option<f64>,
    /// Mean of the defined `outputs`. If all are defined, it equals scikit-learn's `r2_score` with
    /// `multioutput="uniform_average"`.
    pub per_output: Option<f64>,
    /// R2 of each output, computed with that output's mean, in the order of the columns.
    pub outputs: Vec<Option<f64>>,
}

impl R2 {
    /// R2 of `predictions` against `targets`, both (N, k) of any floating kind, on any device. Sums are
    /// computed in f64.
    ///
    /// # Errors
    /// Fails if the shapes differ, a tensor is not (N, k) with N, k >= 1, or a value is not finite.
    pub fn new(predictions: &Tensor, targets: &Tensor) -> Result<R2> {
        const NAME: &str = "R2";
        let (rows, columns) = matrix(NAME, TensorRole::Targets, targets)?;
        expect_shape(NAME, TensorRole::Predictions, predictions, &[rows, columns])?;
        finite(NAME, TensorRole::Targets, targets)?;
        finite(NAME, TensorRole::Predictions, predictions)?;
        Ok(tch::no_grad(|| R2::from_checked(predictions, targets)))
    }

    /// Like [`R2::new`], for finite tensors of equal shape.
    pub(crate) fn from_checked(predictions: &Tensor, targets: &Tensor) -> R2 {
        let double = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
        let (predictions, targets) = (double(predictions), double(targets));
        R2::from_residuals(&(&predictions - &targets), &targets)
    }

    /// R2 for the squared residuals of predictions, row by row, against `targets` (N, k).
    ///
    /// # Panics
    /// Panics if there are not N k squares.
    pub fn from_squares(squares: &[f64], targets: &Tensor) -> R2 {
        let targets = targets.to_device(Device::Cpu).to_kind(Kind::Double);
        R2::from_residuals(&Tensor::from_slice(squares).sqrt().view_as(&targets), &targets)
    }

    /// For residuals and targets (N, k), both f64 on the CPU.
    fn from_residuals(residual: &Tensor, targets: &Tensor) -> R2 {
        let deviation = targets.g_sub(&targets.mean_dim(&[0i64][..], true, Kind::Double));
        let (low, high) = (values(&targets.amin([0i64], false)), values(&targets.amax([0i64], false)));
        let output = |j: usize| {
            let column = |t: &Tensor| t.select(1, j as i64);
            (low[j] < high[j]).then(|| explained(&column(residual), &column(&deviation)))
        };
        let outputs: Vec<Option<f64>> = (0..low.len()).map(output).collect();
        let varies = low.iter().chain(&high).any(|&v| v != low[0]);
        let pooled = varies.then(|| explained(residual, &targets.g_sub(&targets.mean(Kind::Double))));
        let defined: Vec<f64> = outputs.iter().copied().flatten().collect();
        let per_output = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64);
        R2 { pooled, per_output, outputs }
    }
}

/// Squared residuals of `predictions` against `targets`, both (N, k), row by row.
pub(crate) fn squared_residuals(predictions: &Tensor, targets: &Tensor) -> Vec<f64> {
    let double = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
    values(&(double(predictions) - double(targets)).square().reshape([-1]))
}

/// 1 - (sum of squared residuals) / (sum of squared deviations). Both are in units of the largest deviation,
/// so that the squares neither overflow nor vanish in any unit of the target.
fn explained(residual: &Tensor, deviation: &Tensor) -> f64 {
    let unit = deviation.abs().max().double_value(&[]);
    let squares = |t: &Tensor| (t / unit).square().sum(Kind::Double).double_value(&[]);
    1.0 - squares(residual) / squares(deviation)
}

/// Values of a one-dimensional f64 tensor on the CPU.
fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t).expect("one-dimensional f64 tensor")
}

/// R2 of the predictor that always returns the training mean of each output, for `train_targets` (N, k) and
/// `test_targets` (M, k). A probe must exceed this value. It is about 0 per output. Pooled, it is well above
/// 0 if the means of the outputs differ (about 0.23 on the quaternions of 3DIEBench).
///
/// # Errors
/// Same as [`R2::new`].
pub fn constant_predictor(train_targets: &Tensor, test_targets: &Tensor) -> Result<R2> {
    const NAME: &str = "constant predictor";
    let (_, columns) = matrix(NAME, TensorRole::TrainTargets, train_targets)?;
    let (rows, _) = matrix(NAME, TensorRole::TestTargets, test_targets)?;
    expect_shape(NAME, TensorRole::TestTargets, test_targets, &[rows, columns])?;
    finite(NAME, TensorRole::TrainTargets, train_targets)?;
    finite(NAME, TensorRole::TestTargets, test_targets)?;
    let means = train_targets.to_device(Device::Cpu).mean_dim(&[0i64][..], true, Kind::Double);
    Ok(R2::from_checked(&means.expand([rows, columns], false), test_targets))
}
