//! Principal axes of features, and linear maps in these axes.

use crate::scaling::rows_in_pieces;
use tch::{Kind, Tensor};

/// The principal axes of features, in units of about their largest deviation from the mean. In these units,
/// squares neither overflow nor vanish in float32.
pub(crate) struct PrincipalAxes {
    /// (1, D), f64
    pub mean: Tensor,
    /// The unit, above 0.
    pub unit: f64,
    /// (D, D), f64, one axis per column
    pub axes: Tensor,
    /// Variance along each axis, (D), f64, in squares of the unit
    pub variance: Tensor,
}

impl PrincipalAxes {
    /// Axes of features (N, D) of any floating kind.
    pub fn new(x: &Tensor) -> PrincipalAxes {
        let [rows, features] = x.size()[..] else { unreachable!("features are (N, D)") };
        let pieces = || rows_in_pieces(x).map(|piece| piece.to_kind(Kind::Double));
        let sums = pieces().map(|piece| piece.sum_dim_intlist(&[0i64][..], true, Kind::Double));
        let mean = sums.reduce(|a, b| a + b).expect("features have rows") / rows as f64;
        let largest = pieces().map(|piece| (piece - &mean).abs().max().double_value(&[])).fold(0.0, f64::max);
        // a power of two: no value is rounded
        let unit = if largest > 0.0 { largest.log2().ceil().exp2() } else { 1.0 };
        let mut gram = Tensor::zeros([features, features], (Kind::Double, x.device()));
        for piece in pieces() {
            let piece = (piece - &mean) / unit;
            gram += piece.tr().matmul(&piece);
        }
        let (variance, axes) = (gram / rows as f64).linalg_eigh("L");
        PrincipalAxes { mean, unit, axes, variance: variance.clamp_min(0.0) }
    }

    /// Features (N, D) in these axes, float32.
    pub fn turned(&self, x: &Tensor) -> Tensor {
        let turn = |piece: Tensor| {
            let centred = (piece.to_kind(Kind::Double) - &self.mean) / self.unit;
            centred.to_kind(Kind::Float).matmul(&self.axes.to_kind(Kind::Float))
        };
        Tensor::cat(&rows_in_pieces(x).map(turn).collect::<Vec<_>>(), 0)
    }

    /// Transforms weights (D, C) and bias (C) for the features into the principal axes: (D + 1, C) with the
    /// bias last, flattened.
    pub fn inward(&self, weight: &Tensor, bias: &Tensor) -> Tensor {
        let bias = bias + self.mean.matmul(weight).squeeze_dim(0);
        Tensor::cat(&[self.axes.tr().matmul(weight) * self.unit, bias.unsqueeze(0)], 0).view([-1])
    }

    /// Transforms `point` (D + 1, C) in the principal axes back into weights (D, C) and bias (C) for the
    /// features.
    pub fn outward(&self, point: &Tensor) -> (Tensor, Tensor) {
        let features = self.axes.size()[0];
        let weight = self.axes.matmul(&point.narrow(0, 0, features)) / self.unit;
        let bias = point.get(features) - self.mean.matmul(&weight).squeeze_dim(0);
        (weight, bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Scores are the same in the axes, and the inverse map restores the weights. Features (5, 3), two
    /// classes.
    #[test]
    fn maps_keep_their_scores_in_the_axes() {
        let wave = |size: [i64; 2]| {
            (Tensor::arange(size[0] * size[1], (Kind::Double, test_device())) * 2.3).sin().view(size)
        };
        let x = wave([5, 3]) * test_tensor(&[10.0, 1.0, 0.1]) + 4.0;
        let axes = PrincipalAxes::new(&x);
        let turned = ((&x - &axes.mean) / axes.unit).matmul(&axes.axes);
        assert!((axes.turned(&x) - &turned).abs().max().double_value(&[]) < 1e-6);
        let covariance = turned.tr().matmul(&turned) / 5.0;
        assert!((covariance - axes.variance.diag(0)).abs().max().double_value(&[]) < 1e-12);
        let (weight, bias) = (wave([3, 2]), wave([1, 2]).squeeze_dim(0));
        let point = axes.inward(&weight, &bias).view([4, 2]);
        let scores = turned.matmul(&point.narrow(0, 0, 3)) + point.get(3);
        assert!((scores - (x.matmul(&weight) + &bias)).abs().max().double_value(&[]) < 1e-12);
        let (same_weight, same_bias) = axes.outward(&point);
        assert!((same_weight - weight).abs().max().double_value(&[]) < 1e-12);
        assert!((same_bias - bias).abs().max().double_value(&[]) < 1e-12);
    }
}
