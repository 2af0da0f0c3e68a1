//! Training rows with the same features. They arise by themselves: from an image that a data set holds twice,
//! or from two draws of a transform that give the same pair.

use crate::scaling::{Scaler, rows_in_pieces};
use tch::{Device, Kind, Tensor};

/// Two rows are the same if no standardised feature differs by more: the rounding of a network's sums.
const SAME: f64 = 1e-5;

/// Number of means over all features, and of single features, that are compared before all features are. The
/// means tell rows apart that differ in many features, single features those that differ by little in each.
const MEANS: usize = 4;
const SINGLE: usize = 4;

/// Groups of rows with the same features.
pub(crate) struct Doubles {
    /// The first row of each group, (G), int64.
    first: Tensor,
    /// The group of each row, (N), int64.
    group: Tensor,
}

/// The distinct rows of a least-squares problem.
pub(crate) struct Distinct {
    /// Features of each row, (G, D), not standardised.
    pub x: Tensor,
    /// Mean target of the rows that are the same, times `root`: (G, k), f64.
    pub y: Tensor,
    /// Square root of the number of rows that are the same, (G, 1), f64.
    pub root: Tensor,
}

impl Doubles {
    /// The groups of features `x` (N, D), which `scaler` standardises.
    pub(crate) fn find(scaler: &Scaler, x: &Tensor) -> Doubles {
        let places = projections(scaler, x);
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by(|&a, &b| places[a][0].total_cmp(&places[b][0]).then(a.cmp(&b)));
        let row = |index: usize| scaler.apply(&x.narrow(0, index as i64, 1));
        let same = |one: usize, other: usize| {
            places[one].iter().zip(&places[other]).all(|(a, b)| (a - b).abs() <= SAME)
                && (row(one) - row(other)).abs().max().double_value(&[]) <= SAME
        };
        let mut first: Vec<i64> = Vec::new();
        let mut group: Vec<Option<i64>> = vec![None; places.len()];
        for (at, &one) in order.iter().enumerate() {
            if group[one].is_some() {
                continue;
            }
            let number = Some(first.len() as i64);
            first.push(one as i64);
            group[one] = number;
            // rows that are the same lie next to each other
            let near = order[at + 1..].iter().take_while(|&&other| places[other][0] - places[one][0] <= SAME);
            for &other in near {
                if group[other].is_none() && same(one, other) {
                    group[other] = number;
                }
            }
        }
        let group: Vec<i64> = group.into_iter().flatten().collect();
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(x.device());
        Doubles { first: tensor(&first), group: tensor(&group) }
    }

    /// The distinct rows of features `x` (N, D) with targets `y` (N, k), f64.
    pub(crate) fn merge(&self, x: &Tensor, y: &Tensor) -> Distinct {
        let groups = self.first.size()[0];
        let sums = |t: &Tensor| {
            Tensor::zeros([groups, t.size()[1]], (Kind::Double, t.device())).index_add(0, &self.group, t)
        };
        let root = sums(&Tensor::ones([x.size()[0], 1], (Kind::Double, x.device()))).sqrt();
        Distinct { x: x.index_select(0, &self.first), y: sums(y) / &root, root }
    }
}

/// Weighted means of the standardised features of each row, with weights of both signs whose absolute values
/// add up to at most 1, then some single features. Rows that are the same differ by at most [`SAME`] in each.
fn projections(scaler: &Scaler, x: &Tensor) -> Vec<[f64; MEANS + SINGLE]> {
    let features = x.size()[1];
    let shape = [features, MEANS as i64];
    let count = shape[0] * shape[1];
    let weights = (Tensor::arange(count, (Kind::Double, x.device())) * 12.9898 + 1.0).sin().view(shape);
    let weights = weights / features as f64;
    let spaced: Vec<i64> = (0..SINGLE as i64).map(|i| i * features / SINGLE as i64).collect();
    let spaced = Tensor::from_slice(&spaced).to_device(x.device());
    let numbers = rows_in_pieces(x).map(|piece| {
        let row = scaler.apply(&piece);
        Tensor::cat(&[row.matmul(&weights), row.index_select(1, &spaced)], 1)
    });
    let numbers = Tensor::cat(&numbers.collect::<Vec<_>>(), 0).to_device(Device::Cpu);
    let numbers: Vec<f64> = Vec::try_from(numbers.view([-1])).expect("f64 numbers of each row");
    numbers.chunks_exact(MEANS + SINGLE).map(|row| std::array::from_fn(|i| row[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// Rows 0 and 3 are the same up to rounding, row 2 differs from them in one feature.
    #[test]
    fn the_same_rows_are_one_row_with_their_mean_target() {
        let x = test_tensor(&[1.0, 2.0, 5.0, 7.0, 1.0, 2.5, 1.0, 2.0 + 1e-9]).view([4, 2]);
        let y = test_tensor(&[1.0, 2.5, 4.0, 3.0]).view([4, 1]);
        let Distinct { x: merged, y, root } = Doubles::find(&Scaler::fit(&x), &x).merge(&x, &y);
        assert_eq!(merged.size(), [3, 2]);
        let mut rows: Vec<[f64; 2]> = (0..3)
            .map(|row| [root.double_value(&[row, 0]).powi(2), y.double_value(&[row, 0])])
            .map(|[count, target]| [count, target / count.sqrt()])
            .collect();
        rows.sort_by(|a, b| a[1].total_cmp(&b[1]));
        for (found, expected) in rows.iter().flatten().zip([2.0, 2.0, 1.0, 2.5, 1.0, 4.0]) {
            assert!((found - expected).abs() < 1e-12, "{rows:?}");
        }
    }

    /// A collapsed encoder gives one row.
    #[test]
    fn rows_that_are_all_the_same() {
        let x = Tensor::ones([50, 3], (Kind::Float, test_device()));
        let y = Tensor::arange(50, (Kind::Double, test_device())).view([50, 1]);
        let distinct = Doubles::find(&Scaler::fit(&x), &x).merge(&x, &y);
        assert_eq!((distinct.x.size(), distinct.root.double_value(&[0, 0])), (vec![1, 3], 50f64.sqrt()));
    }
}
