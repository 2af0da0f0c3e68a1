//! Scaling of features and targets: columns are standardised with the training split's statistics, or rows
//! are scaled to length 1. None of it depends on the unit or the origin of a column.

use tch::{Kind, Tensor};

/// Number of rows converted to f64 at a time.
const PIECE: i64 = 8192;

/// Mean and scale of each feature over the training split, both (1, D), f64.
///
/// A column that does not vary, up to the rounding of its type, has an infinite scale: it becomes 0 on every
/// split. Otherwise a dead feature that varies on the test split would count by its unit.
#[derive(Debug)]
pub(crate) struct Scaler {
    mean: Tensor,
    scale: Tensor,
}

impl Scaler {
    /// Statistics (divisor N) of `x` (N, D).
    pub(crate) fn fit(x: &Tensor) -> Scaler {
        let mean = sum(x, &|piece| piece) / x.size()[0] as f64;
        let unit = pieces(x).map(|piece| (piece - &mean).abs().amax([0i64], true));
        let unit = unit.reduce(|a, b| a.maximum(&b)).expect("features have rows");
        // deviations in units of the largest one: their squares neither overflow nor vanish
        let unit = unit.where_self(&unit.gt(0.0), &unit.ones_like());
        let share = sum(x, &|piece| ((piece - &mean) / &unit).square()) / x.size()[0] as f64;
        let std = share.sqrt() * unit;
        let varies = std.gt_tensor(&(mean.abs() * rounding(x.kind())));
        let scale = std.where_self(&varies, &std.full_like(f64::INFINITY));
        Scaler { mean, scale }
    }

    /// `x` (R, D) standardised, f64.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        (x.to_kind(Kind::Double) - &self.mean) / &self.scale
    }

    /// Mean and one over the scale of each feature, both (1, D), float32.
    pub(crate) fn mean_and_rate(&self) -> (Tensor, Tensor) {
        (self.mean.to_kind(Kind::Float), self.scale.reciprocal().to_kind(Kind::Float))
    }

    /// `x` (R, D) standardised, contiguous float32.
    pub(crate) fn apply_float(&self, x: &Tensor) -> Tensor {
        let standard = rows_in_pieces(x).map(|piece| self.apply(&piece).to_kind(Kind::Float));
        Tensor::cat(&standard.collect::<Vec<_>>(), 0)
    }
}

/// Spread, relative to the mean, up to which values of a type count as equal. A dead feature of a network
/// varies by the rounding of its sums.
fn rounding(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-13 } else { 1e-6 }
}

/// `x` in pieces of [`PIECE`] rows.
pub(crate) fn rows_in_pieces(x: &Tensor) -> impl Iterator<Item = Tensor> {
    let rows = x.size()[0];
    (0..rows).step_by(PIECE as usize).map(move |start| x.narrow(0, start, PIECE.min(rows - start)))
}

/// `x` in pieces of [`PIECE`] rows, f64.
fn pieces(x: &Tensor) -> impl Iterator<Item = Tensor> {
    rows_in_pieces(x).map(|piece| piece.to_kind(Kind::Double))
}

/// Sums of the columns of `f(x)`, (1, D), f64.
fn sum(x: &Tensor, f: &dyn Fn(Tensor) -> Tensor) -> Tensor {
    let parts = pieces(x).map(|piece| f(piece).sum_dim_intlist(&[0i64][..], true, Kind::Double));
    parts.reduce(|a, b| a + b).expect("features have rows")
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
    // the largest value becomes 1 first: squares of large and of small values neither overflow nor vanish
    let largest = x.abs().amax([1i64], true);
    let x = &x / largest.where_self(&largest.gt(0.0), &largest.ones_like());
    let norm = x.square().sum_dim_intlist(&[1i64][..], true, kind).sqrt();
    &x / norm.where_self(&norm.gt(0.0), &norm.ones_like())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_tensor;

    /// A column that does not vary in training is 0 on every split, whatever its unit.
    #[test]
    fn constant_columns_say_nothing() {
        let train = test_tensor(&[1.0f32, 5.0, 3.0, 5.0]).view([2, 2]);
        let test = test_tensor(&[2.0f32, 5.5]).view([1, 2]);
        for unit in [1e-30, 5e-9, 1.0, 1e20] {
            let scaler = Scaler::fit(&(&train * unit));
            let values = |x: &Tensor| Vec::<f32>::try_from(scaler.apply_float(&(x * unit)).view(-1)).unwrap();
            let all = [values(&train), values(&test)].concat();
            for (found, expected) in all.iter().zip([-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]) {
                assert!((found - expected).abs() < 1e-6, "{unit}: {all:?}");
            }
        }
    }

    #[test]
    fn directions_do_not_depend_on_lengths() {
        let rows = test_tensor(&[3.0f32, 4.0, 0.0, 0.0]).view([2, 2]);
        for length in [1e-30, 1.0, 1e30] {
            let unit = Vec::<f32>::try_from(unit_rows(&(&rows * length), Kind::Float).view(-1)).unwrap();
            for (found, expected) in unit.iter().zip([0.6, 0.8, 0.0, 0.0]) {
                assert!((found - expected).abs() < 1e-6, "{length}: {unit:?}");
            }
        }
    }

    /// Dates in seconds keep their differences, and a target that does not vary stays what it is.
    #[test]
    fn targets_are_centred_before_they_are_rounded() {
        let t = test_tensor(&[1.7e9, 0.1, 1.7e9 + 2.0, 0.1, 1.7e9 + 4.0, 0.1]).view([3, 2]);
        let scaler = TargetScaler::fit(&t);
        let standard = Vec::<f32>::try_from(scaler.apply(&t).view(-1)).unwrap();
        let deviation = 1.5f32.sqrt();
        for (found, expected) in standard.iter().zip([-deviation, 0.0, 0.0, 0.0, deviation, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{standard:?}");
        }
        assert!((scaler.undo(&scaler.apply(&t)) - t).abs().max().double_value(&[]) < 1e-6);
    }
}
