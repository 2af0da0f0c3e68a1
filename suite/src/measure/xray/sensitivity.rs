//! How far a transformation moves the features, against how far images are apart.
//!
//! The sensitivity to a transformation with parameters t_1 .. t_k is
//!
//! S = sqrt( mean over images of sum_j |df/dt_j|² s_j² ) / sqrt( mean over pairs of images of |f - f'|² )
//!
//! with the features f and the standard deviation s_j of t_j. S = 1: one standard deviation of the parameters
//! moves the features as far as another image does. S does not depend on the unit of the features or the
//! parameters. The denominator is sqrt(2 n / (n - 1)) times the root mean square distance of the n images
//! from their mean.
//!
//! Photographs: df/dt_j is the finite difference (f(t + d e_j) - f(t)) / d at the parameters t of the second
//! view, with d = 0.05 in the units of the targets (a flip is undone or done: d = 2). Each image takes one
//! step, along one of the parameters in turn; its square stands for all k of them.
//!
//! Renders: a pack has no small steps, and two views of an object differ by all transformations at once.
//! With m = |f2 - f1|² and the squared distance d_a = sum_j t_aj² that transformation a goes (for rotations
//! the distance of the quaternion from no rotation), least squares gives m = sum_a c_a d_a. The numerator is
//! sqrt(c_a mean d_a), the root of the mean square that transformation a explains (0 if c_a is below 0).

use eqr_probes::bootstrap::{Objects, Resampled, Statistic, resample};
use tch::{Device, Kind, Tensor};

use crate::measure::xray::spots::{LayerPairs, Spot, View, spots};
use crate::run_folder::xray::{Reading, XrayMeasure};

/// Small steps of photographs.
pub(super) struct Steps<'a> {
    /// The transform.
    pub task: &'a str,
    /// The images without any transform, (n) rows.
    pub images: View<'a>,
    /// The second views before the step.
    pub before: View<'a>,
    /// The second views after it.
    pub after: View<'a>,
    /// (n): k s_j² / d² for the step along entry j of the parameters.
    pub weights: &'a Tensor,
    /// The photograph of each row.
    pub objects: &'a Objects,
}

/// The sensitivity of every place to the transform of `steps`.
pub(super) fn of_steps(steps: &Steps) -> Vec<Reading> {
    let spots = spots(steps.images.layers);
    let statistics = spots.iter().map(|&spot| {
        let moves = squares(&(steps.after.at(spot) - steps.before.at(spot))) * double(steps.weights);
        let spread = from_mean(&steps.images.at(spot));
        Statistic::new(Tensor::stack(&[moves, spread], 1), |sums| ratio(sums[0], sums[1]))
    });
    let statistics: Vec<Statistic> = statistics.collect();
    readings(&spots, steps.task, &statistics, steps.objects)
}

/// The sensitivity of every place to each transformation between the renders of `pairs`. `named` is the name
/// of each transformation, and the squared distances that it goes, (N) each.
pub(super) fn of_pairs(pairs: &LayerPairs, named: &[(String, Tensor)]) -> Vec<Reading> {
    let distances: Vec<Tensor> = named.iter().map(|(_, distance)| double(distance)).collect();
    let count = distances.len();
    let spots = spots(pairs.first.layers);
    let of_task = |(task, (name, _)): (usize, &(String, Tensor))| {
        let statistic = |&spot: &Spot| {
            let first = pairs.first.at(spot);
            let moved = squares(&(pairs.second.at(spot) - &first));
            let products = distances.iter().flat_map(|a| distances.iter().map(move |b| a * b));
            let explained = distances.iter().map(|a| a * &moved);
            let rest = [distances[task].shallow_clone(), from_mean(&first)];
            let terms: Vec<Tensor> = products.chain(explained).chain(rest).collect();
            Statistic::new(Tensor::stack(&terms, 1), move |sums| {
                let (products, rest) = sums.split_at(count * count);
                let (moments, rest) = rest.split_at(count);
                let slope = solve(products, moments)?[task];
                ratio(slope.max(0.0) * rest[0], rest[1])
            })
        };
        readings(&spots, name, &spots.iter().map(statistic).collect::<Vec<_>>(), pairs.objects)
    };
    named.iter().enumerate().flat_map(of_task).collect()
}

fn readings(spots: &[Spot], task: &str, statistics: &[Statistic], objects: &Objects) -> Vec<Reading> {
    let draws = resample(objects, statistics);
    let reading = |((spot, statistic), draws): ((&Spot, &Statistic), Option<Resampled>)| Reading {
        layer: spot.place.to_string(),
        tokens: spot.tokens.to_string(),
        measure: XrayMeasure::Sensitivity,
        task: Some(task.to_owned()),
        output: None,
        value: statistic.value(),
        ci95: draws.as_ref().map(Resampled::interval),
    };
    spots.iter().zip(statistics).zip(draws).map(reading).collect()
}

/// S from the sums of squared moves and of squared distances from the mean. `None` if all images have the
/// same features.
fn ratio(moves: f64, spread: f64) -> Option<f64> {
    (spread > 0.0).then(|| (moves / (2.0 * spread)).sqrt())
}

/// (n), f64 on the CPU: squared lengths of the rows.
fn squares(x: &Tensor) -> Tensor {
    double(&x.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double))
}

/// (n): squared distances of the rows from their mean, times n / (n - 1). Zero if they differ by no more than
/// rounding.
fn from_mean(x: &Tensor) -> Tensor {
    let (n, x) = (x.size()[0] as f64, double(x));
    let mean = x.mean_dim([0i64].as_slice(), true, Kind::Double);
    let spread = squares(&(&x - &mean));
    let largest = spread.max().double_value(&[]);
    let varies = largest > ROUNDING * ROUNDING * mean.square().sum(Kind::Double).double_value(&[]);
    if varies { spread * (n / (n - 1.0).max(1.0)) } else { spread.zeros_like() }
}

/// Share of a column's square that the other columns leave of it, below which it depends on them.
const DEPENDENT: f64 = 1e-9;

/// Relative differences that may be rounding of float32.
const ROUNDING: f64 = 1e-5;

fn double(x: &Tensor) -> Tensor {
    x.to_device(Device::Cpu).to_kind(Kind::Double)
}

/// The solution of least squares with the products (k x k) and moments (k) of its columns. `None` if the
/// columns are linearly dependent.
fn solve(products: &[f64], moments: &[f64]) -> Option<Vec<f64>> {
    let count = moments.len();
    let mut rows: Vec<Vec<f64>> =
        products.chunks(count).zip(moments).map(|(row, moment)| [row, &[*moment]].concat()).collect();
    // Gauss and Jordan; a matrix of products needs no exchange of rows
    for pivot in 0..count {
        let own = rows[pivot].clone();
        if own[pivot] <= DEPENDENT * products[pivot * count + pivot] {
            return None;
        }
        for (number, row) in rows.iter_mut().enumerate() {
            let factor = if number == pivot { 1.0 - 1.0 / own[pivot] } else { row[pivot] / own[pivot] };
            row.iter_mut().zip(&own).for_each(|(value, own)| *value -= factor * own);
        }
    }
    Some(rows.into_iter().map(|row| row[count]).collect())
}

#[cfg(test)]
mod tests {
    use eqr_models::Place;

    use super::*;
    use crate::encoder::layer::{Layer, TokenKind};

    #[test]
    fn least_squares_by_hand() {
        // columns (1, 0, 1) and (0, 1, 1) with slopes 2 and 3
        let found = solve(&[2.0, 1.0, 1.0, 2.0], &[7.0, 8.0]).unwrap();
        assert!((found[0] - 2.0).abs() < 1e-12 && (found[1] - 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(solve(&[1.0, 2.0, 2.0, 4.0], &[1.0, 2.0]), None);
    }

    /// The moves 0.1 and 0.3 with weights of 100 have squares of 1 and 9; the images 1 and 3 are 1 from their
    /// mean, which n / (n - 1) makes squares of 2.
    #[test]
    fn a_sensitivity_by_hand() {
        let layers = |values: [f32; 2]| {
            let x = Tensor::from_slice(&values).view([2, 1]);
            [Layer { place: Place::Block(1), readouts: vec![(TokenKind::Mean, x)] }]
        };
        let [images, after] = [layers([1.0, 3.0]), layers([1.1, 3.3])];
        let found = of_steps(&Steps {
            task: "blur",
            images: View { layers: &images, rows: None },
            before: View { layers: &images, rows: None },
            after: View { layers: &after, rows: None },
            weights: &Tensor::from_slice(&[100.0, 100.0]),
            objects: &Objects::of_rows(2),
        });
        let value = found[0].value.unwrap();
        assert!((value - (10.0f64 / 8.0).sqrt()).abs() < 1e-5, "{value}");
    }

    #[test]
    fn equal_features_have_no_spread() {
        let x = Tensor::from_slice(&[3f32, 3.0, 3.0, 3.0]).view([2, 2]);
        assert_eq!(from_mean(&x).sum(Kind::Double).double_value(&[]), 0.0);
        // 1 and 3: n / (n - 1) times 1 + 1
        let x = Tensor::from_slice(&[1f32, 3.0]).view([2, 1]);
        assert_eq!(from_mean(&x).sum(Kind::Double).double_value(&[]), 4.0);
        assert_eq!(ratio(1.0, 0.0), None);
    }
}
