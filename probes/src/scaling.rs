//! Scaling of features and targets: columns are standardised with the training split's statistics, or rows
//! are scaled to length 1.

use tch::{Kind, Tensor};

/// A column whose standard deviation is at most this counts as constant. It is centred but not divided.
/// Otherwise a dead feature that varies on the test split would dominate all others.
const STD_FLOOR: f64 = 1e-6;

/// Mean and scale of each feature over the training split, both (1, D).
pub(crate) struct Scaler {
    mean: Tensor,
    scale: Tensor,
}

impl Scaler {
    /// Statistics of `x` (N, D).
    pub(crate) fn fit(x: &Tensor) -> Scaler {
        let (std, mean) = x.to_kind(Kind::Float).std_mean_dim(&[0i64][..], false, true);
        let scale = std.where_self(&std.gt(STD_FLOOR), &std.ones_like());
        Scaler { mean, scale }
    }

    /// `x` (N, D) standardised, contiguous float32.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        ((x.to_kind(Kind::Float) - &self.mean) / &self.scale).contiguous()
    }
}

/// Mean and scale of each target over the training split, both (1, k), f64. A target may be a date in
/// seconds, whose spread float32 would lose beside its mean.
pub(crate) struct TargetScaler {
    mean: Tensor,
    scale: Tensor,
}

impl TargetScaler {
    /// Statistics of `t` (N, k). A target that does not vary is centred but not divided.
    pub(crate) fn fit(t: &Tensor) -> TargetScaler {
        let t = t.to_kind(Kind::Double);
        let mean = t.mean_dim(&[0i64][..], true, Kind::Double);
        let std = (&t - &mean).square().mean_dim(&[0i64][..], true, Kind::Double).sqrt();
        let varies = t.amax([0i64], true).gt_tensor(&t.amin([0i64], true)).logical_and(&std.gt(0.0));
        let scale = std.where_self(&varies, &std.ones_like());
        TargetScaler { mean, scale }
    }

    /// `t` (R, k) standardised, float32.
    pub(crate) fn apply(&self, t: &Tensor) -> Tensor {
        ((t.to_kind(Kind::Double) - &self.mean) / &self.scale).to_kind(Kind::Float)
    }

    /// Standardised predictions (R, k) in the unit of the targets, f64.
    pub(crate) fn undo(&self, predictions: &Tensor) -> Tensor {
        predictions.to_kind(Kind::Double) * &self.scale + &self.mean
    }
}

/// Rows of `x` (R, D) scaled to length 1, in `kind`. A row of zeros stays zero.
pub(crate) fn unit_rows(x: &Tensor, kind: Kind) -> Tensor {
    let x = x.to_kind(kind);
    let norm = x.square().sum_dim_intlist(&[1i64][..], true, kind).sqrt().clamp_min(1e-30);
    x / norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_columns_are_centred_only() {
        let train = Tensor::from_slice(&[1.0f32, 5.0, 3.0, 5.0]).view([2, 2]);
        let scaler = Scaler::fit(&train);
        assert_eq!(Vec::<f32>::try_from(scaler.apply(&train).view(-1)).unwrap(), [-1.0, 0.0, 1.0, 0.0]);
        let test = Tensor::from_slice(&[2.0f32, 5.5]).view([1, 2]);
        assert_eq!(Vec::<f32>::try_from(scaler.apply(&test).view(-1)).unwrap(), [0.0, 0.5]);
    }

    /// Dates in seconds keep their differences, and a target that does not vary stays what it is.
    #[test]
    fn targets_are_centred_before_they_are_rounded() {
        let t = Tensor::from_slice(&[1.7e9, 0.1, 1.7e9 + 2.0, 0.1, 1.7e9 + 4.0, 0.1]).view([3, 2]);
        let scaler = TargetScaler::fit(&t);
        let standard = Vec::<f32>::try_from(scaler.apply(&t).view(-1)).unwrap();
        let deviation = 1.5f32.sqrt();
        for (found, expected) in standard.iter().zip([-deviation, 0.0, 0.0, 0.0, deviation, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{standard:?}");
        }
        assert!((scaler.undo(&scaler.apply(&t)) - t).abs().max().double_value(&[]) < 1e-6);
    }
}
