//! Intervals of one encoder: the bootstrap over test objects.
//!
//! An encoder that exists once has no spread between pretraining seeds. What remains uncertain is which
//! objects happened to be tested. The bootstrap draws as many objects as there are, with replacement, and
//! computes the statistic again ([`DRAWS`] times); the interval holds the middle 95% of these values
//! (percentile interval; Efron and Tibshirani 1993, chapter 13). All rows of an object are drawn together,
//! because pairs of one object are not independent (cluster bootstrap; Davison and Hinkley 1997, section
//! 3.8).
//!
//! All statistics here are functions of sums over rows, so a draw needs only how often it holds each object.
//! These counts depend on nothing but the number of objects: two encoders that are tested on the same objects
//! see the same draws, and the difference of their values in each draw gives the interval of their
//! difference.

use eqr_random::{Purpose, probe_rng};
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// Number of draws.
pub const DRAWS: usize = 1000;

/// Fewest objects for which an interval is given. Percentile intervals of fewer are too narrow.
pub const FEWEST_OBJECTS: usize = 20;

/// Draws whose counts are held at a time, to limit memory.
const DRAWS_AT_A_TIME: usize = 50;

/// The object of each test row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// (M): 0 to `count` - 1.
    of_row: Vec<i64>,
    count: usize,
}

impl Objects {
    /// Rows with the same key belong to one object.
    pub fn new(keys: &[i64]) -> Objects {
        let mut distinct = keys.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let place = |key| distinct.binary_search(key).expect("every key is among the distinct ones") as i64;
        Objects { of_row: keys.iter().map(place).collect(), count: distinct.len() }
    }

    /// Every row is an object of its own.
    pub fn of_rows(rows: usize) -> Objects {
        Objects { of_row: (0..rows as i64).collect(), count: rows }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// Number of objects.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Sums of `values` (M, s) over the rows of each object, (objects, s) in f64 on the CPU.
    fn sums(&self, values: &Tensor) -> Tensor {
        let values = values.to_device(Device::Cpu).to_kind(Kind::Double);
        let sums = Tensor::zeros([self.count as i64, values.size()[1]], (Kind::Double, Device::Cpu));
        sums.index_add(0, &Tensor::from_slice(&self.of_row), &values)
    }
}

/// The statistic for the sums, `None` where it is undefined.
type OfSums = Box<dyn Fn(&[f64]) -> Option<f64>>;

/// A statistic of test rows, as a function of sums over them.
pub struct Statistic {
    /// (M, s): what is summed.
    terms: Tensor,
    of_sums: OfSums,
}

impl Statistic {
    /// `of_sums` maps the sums of the columns of `terms` (M, s) to the statistic.
    pub fn new(terms: Tensor, of_sums: impl Fn(&[f64]) -> Option<f64> + 'static) -> Statistic {
        Statistic { terms, of_sums: Box::new(of_sums) }
    }

    /// The mean of `values` (M).
    pub fn mean(values: &Tensor) -> Statistic {
        let terms = Tensor::stack(&[values.ones_like(), values.shallow_clone()], 1);
        Statistic::new(terms, |sums| Some(sums[1] / sums[0]))
    }

    /// The pooled R2 ([`crate::r2::R2::pooled`]) for squared residuals and targets, both (M, k). Squared
    /// residuals may be means over several probes: the statistic is then the mean of their R2.
    pub fn pooled_r2(squared_residuals: &Tensor, targets: &Tensor) -> Statistic {
        let k = targets.size()[1] as f64;
        let (t, scale) = centred(targets, &targets.mean(Kind::Double));
        let row = |t: &Tensor| t.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        let squared_residuals = squared_residuals.to_kind(Kind::Double) / (scale * scale);
        let one = row(&t).ones_like();
        let terms = Tensor::stack(&[one, row(&t), row(&t.square()), row(&squared_residuals)], 1);
        Statistic::new(terms, move |sums| explained(sums[0] * k, sums[1], sums[2], sums[3]))
    }

    /// The R2 per output ([`crate::r2::R2::per_output`]) for squared residuals and targets, both (M, k).
    pub fn r2_per_output(squared_residuals: &Tensor, targets: &Tensor) -> Statistic {
        let k = targets.size()[1] as usize;
        let (t, scale) = centred(targets, &targets.mean_dim(&[0i64][..], true, Kind::Double));
        let one = Tensor::ones([t.size()[0], 1], (Kind::Double, t.device()));
        let squared_residuals = squared_residuals.to_kind(Kind::Double) / (scale * scale);
        let terms = Tensor::cat(&[one, t.shallow_clone(), t.square(), squared_residuals], 1);
        Statistic::new(terms, move |sums| {
            let output = |j: usize| explained(sums[0], sums[1 + j], sums[1 + k + j], sums[1 + 2 * k + j]);
            let defined: Vec<f64> = (0..k).filter_map(output).collect();
            (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
        })
    }

    /// The statistic of the rows as they are.
    pub fn value(&self) -> Option<f64> {
        let sums = self.terms.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        (self.of_sums)(&Vec::<f64>::try_from(sums.to_device(Device::Cpu)).expect("one sum a column"))
    }

    fn columns(&self) -> i64 {
        self.terms.size()[1]
    }
}

/// Targets minus `centre`, in units of the largest deviation, and that unit: no unit of the target overflows.
fn centred(targets: &Tensor, centre: &Tensor) -> (Tensor, f64) {
    let deviation = targets.to_kind(Kind::Double) - centre;
    let largest = deviation.abs().max().double_value(&[]);
    let unit = if largest > 0.0 { largest } else { 1.0 };
    (deviation / unit, unit)
}

/// 1 - residual / (sum of squares - sum^2 / n): R2 from the number, sum and sum of squares of the targets,
/// and the sum of squared residuals. `None` if the targets do not vary.
fn explained(n: f64, sum: f64, squares: f64, residuals: f64) -> Option<f64> {
    let deviation = squares - sum * sum / n;
    (deviation > 1e-12 * squares.max(f64::MIN_POSITIVE)).then(|| 1.0 - residuals / deviation)
}

/// Values of a statistic in all draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampled(Vec<f64>);

impl Resampled {
    /// Draws that were computed before, in their order; `None` if there are none.
    pub fn from_values(values: Vec<f64>) -> Option<Resampled> {
        (!values.is_empty()).then_some(Resampled(values))
    }

    /// The values, one a draw, in the order of the draws.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// (low, high): the middle 95% of the values.
    pub fn interval(&self) -> (f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        (quantile(&sorted, 0.025), quantile(&sorted, 0.975))
    }

    /// Values of the mean of several statistics of the same objects. `None` if there is none, or if they have
    /// different numbers of draws.
    pub fn mean(all: &[&Resampled]) -> Option<Resampled> {
        let count = all.first()?.0.len();
        let mean = |draw: usize| all.iter().map(|one| one.0[draw]).sum::<f64>() / all.len() as f64;
        all.iter().all(|one| one.0.len() == count).then(|| Resampled((0..count).map(mean).collect()))
    }

    /// Every value plus `by`.
    pub fn shifted(&self, by: f64) -> Resampled {
        Resampled(self.0.iter().map(|value| value + by).collect())
    }

    /// Two-sided p value of the hypothesis that the statistic is zero: twice the share of draws beyond zero,
    /// counting the sample itself as one of them (Davison and Hinkley 1997, equation 4.11).
    pub fn p(&self) -> f64 {
        let beyond = |is: fn(f64) -> bool| self.0.iter().filter(|&&value| is(value)).count();
        let fewer = beyond(|value| value <= 0.0).min(beyond(|value| value >= 0.0));
        (2.0 * (fewer + 1) as f64 / (self.0.len() + 1) as f64).min(1.0)
    }

    /// Values of the difference to `other`, a statistic of the same objects. `None` if it has another number
    /// of draws.
    pub fn minus(&self, other: &Resampled) -> Option<Resampled> {
        let differences = self.0.iter().zip(&other.0).map(|(a, b)| a - b);
        (self.0.len() == other.0.len()).then(|| Resampled(differences.collect()))
    }
}

/// Quantile of sorted values, interpolated (definition 7 of Hyndman and Fan 1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// Values of every statistic in every draw of `objects`, in the order of `statistics`. A statistic that a
/// draw leaves undefined has `None`, and so have all of them if there are fewer than [`FEWEST_OBJECTS`].
///
/// # Panics
/// Panics if the terms of a statistic have another number of rows than `objects`.
pub fn resample(objects: &Objects, statistics: &[Statistic]) -> Vec<Option<Resampled>> {
    if objects.count < FEWEST_OBJECTS || statistics.is_empty() {
        return statistics.iter().map(|_| None).collect();
    }
    tch::no_grad(|| {
        let sums: Vec<Tensor> = statistics.iter().map(|statistic| objects.sums(&statistic.terms)).collect();
        // (objects, all columns)
        let sums = Tensor::cat(&sums, 1);
        let mut values: Vec<Vec<Option<f64>>> = vec![Vec::with_capacity(DRAWS); statistics.len()];
        for start in (0..DRAWS).step_by(DRAWS_AT_A_TIME) {
            // (draws, all columns)
            let drawn = counts(objects.count, start..(start + DRAWS_AT_A_TIME).min(DRAWS)).matmul(&sums);
            for draw in 0..drawn.size()[0] {
                let drawn: Vec<f64> = Vec::try_from(drawn.get(draw)).expect("a row of f64");
                let mut from = 0;
                for (statistic, values) in statistics.iter().zip(&mut values) {
                    let to = from + statistic.columns() as usize;
                    values.push((statistic.of_sums)(&drawn[from..to]));
                    from = to;
                }
            }
        }
        values
            .into_iter()
            .map(|values| values.into_iter().collect::<Option<Vec<f64>>>().map(Resampled))
            .collect()
    })
}

/// How often each of the draws holds each object, (draws, objects).
pub(crate) fn counts(objects: usize, draws: std::ops::Range<usize>) -> Tensor {
    let mut counts = vec![0.0f64; draws.len() * objects];
    for (row, draw) in draws.clone().enumerate() {
        let row = &mut counts[row * objects..(row + 1) * objects];
        let mut rng = probe_rng(objects as u64, draw as u64, Purpose::Bootstrap);
        (0..objects).for_each(|_| row[rng.gen_range(0..objects)] += 1.0);
    }
    Tensor::from_slice(&counts).view([draws.len() as i64, objects as i64])
}

#[cfg(test)]
mod tests {
    use eqr_models::test_device::test_tensor;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::r2::R2;

    fn normal(rng: &mut Pcg64Mcg) -> f64 {
        StandardNormal.sample(rng)
    }

    /// `values` row by row, with `columns` columns.
    fn matrix(values: &[f64], columns: i64) -> Tensor {
        test_tensor(values).view([-1, columns])
    }

    #[test]
    fn the_sums_give_both_definitions_of_r2() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let targets: Vec<f64> = (0..90).map(|i| 1e4 + 50.0 * (i % 3) as f64 + normal(&mut rng)).collect();
        let predictions: Vec<f64> = targets.iter().map(|t| t + 0.3 * normal(&mut rng)).collect();
        let squares: Vec<f64> = targets.iter().zip(&predictions).map(|(t, p)| (t - p).powi(2)).collect();
        let (targets, squares) = (matrix(&targets, 3), matrix(&squares, 3));
        let expected = R2::new(&matrix(&predictions, 3), &targets).unwrap();
        let found = [Statistic::pooled_r2(&squares, &targets), Statistic::r2_per_output(&squares, &targets)];
        for (found, expected) in found.iter().zip([expected.pooled, expected.per_output]) {
            let (found, expected) = (found.value().unwrap(), expected.unwrap());
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_target_that_does_not_vary_has_no_interval() {
        let (targets, squares) = (matrix(&[2.0; 40], 1), matrix(&[1.0; 40], 1));
        let statistics = [Statistic::pooled_r2(&squares, &targets), Statistic::mean(&squares.select(1, 0))];
        let found = resample(&Objects::of_rows(40), &statistics);
        assert_eq!(found[0], None);
        assert_eq!(found[1].as_ref().unwrap().interval(), (1.0, 1.0));
        let few = matrix(&[1.0, 2.0, 3.0], 1).select(1, 0);
        assert_eq!(resample(&Objects::of_rows(3), &[Statistic::mean(&few)]), [None]);
    }

    /// The share of `repeats` intervals that hold the true R2, 1 - (between^2 + within^2), of pairs whose
    /// residuals have a part in common within their object; and the same for intervals that take every pair
    /// for an object.
    fn coverage(repeats: u64, objects: usize, pairs: usize, between: f64, within: f64) -> [f64; 2] {
        let truth = 1.0 - (between * between + within * within);
        let simulated = |repeat: u64| {
            let mut rng = Pcg64Mcg::seed_from_u64(repeat);
            let (mut targets, mut squares) = (Vec::new(), Vec::new());
            for _ in 0..objects {
                let common = between * normal(&mut rng);
                for _ in 0..pairs {
                    targets.push(normal(&mut rng));
                    squares.push((common + within * normal(&mut rng)).powi(2));
                }
            }
            Statistic::pooled_r2(&matrix(&squares, 1), &matrix(&targets, 1))
        };
        let all: Vec<Statistic> = (0..repeats).map(simulated).collect();
        let rows: Vec<i64> = (0..objects * pairs).map(|row| (row / pairs) as i64).collect();
        [Objects::new(&rows), Objects::of_rows(rows.len())].map(|grouping| {
            let held = resample(&grouping, &all).into_iter().filter(|found| {
                let (low, high) = found.as_ref().unwrap().interval();
                low <= truth && truth <= high
            });
            held.count() as f64 / repeats as f64
        })
    }

    /// The error of a share of 0.95 over 400 repeats is 0.011.
    #[test]
    fn intervals_over_objects_hold_the_truth_and_intervals_over_pairs_do_not() {
        let [clustered, by_pair] = coverage(400, 300, 8, 0.6, 0.3);
        assert!((0.93..=0.97).contains(&clustered), "{clustered}");
        assert!(by_pair < 0.80, "{by_pair}");
        // without a common part, both hold
        let [clustered, by_pair] = coverage(400, 300, 2, 0.0, 0.6);
        assert!(
            (0.93..=0.97).contains(&clustered) && (0.93..=0.97).contains(&by_pair),
            "{clustered} {by_pair}"
        );
    }

    #[test]
    fn a_difference_on_the_same_objects_is_narrower_than_its_parts() {
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        let difficulty: Vec<f64> = (0..500).map(|_| normal(&mut rng).powi(2)).collect();
        let harder: Vec<f64> = difficulty.iter().map(|d| d + 0.1 + 0.02 * normal(&mut rng)).collect();
        let means = [&harder, &difficulty].map(|values| Statistic::mean(&test_tensor(values)));
        let found: Vec<Resampled> =
            resample(&Objects::of_rows(500), &means).into_iter().map(Option::unwrap).collect();
        let (low, high) = found[0].minus(&found[1]).unwrap().interval();
        let own = found[0].interval();
        assert!(low > 0.09 && high < 0.11, "{low} {high}");
        assert!(
            found[0].minus(&found[1]).unwrap().p() < 0.01 && found[0].minus(&found[0]).unwrap().p() == 1.0
        );
        assert!(own.1 - own.0 > 10.0 * (high - low), "{own:?}");
    }

    #[test]
    fn draws_are_multinomial_and_depend_on_the_number_of_objects_only() {
        let drawn = counts(30, 3..5);
        assert_eq!(
            Vec::<f64>::try_from(drawn.sum_dim_intlist([1i64].as_slice(), false, Kind::Double)).unwrap(),
            [30.0; 2]
        );
        assert!(drawn.get(0).equal(&counts(30, 3..4).get(0)) && !drawn.get(0).equal(&drawn.get(1)));
        assert_eq!(Objects::new(&[7, 3, 7]), Objects { of_row: vec![1, 0, 1], count: 2 });
    }
}
