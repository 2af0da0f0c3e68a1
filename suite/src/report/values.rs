//! The values of the finished cells, by method and quantity, with the draws of every pretraining seed.

use std::collections::{BTreeMap, BTreeSet};

use eqr_probes::VarianceComponents;
use eqr_probes::bootstrap::Resampled;
use eqr_probes::sequential::Looks;
use eqr_probes::stats::{self, Difference, Summary};

use crate::report::cost_values::{EnergyFacts, cost_values, energy_facts};
use crate::report::curve_values::{CurveValue, curve_values};
use crate::report::mean::mean;
pub use crate::report::quantity::Quantity;
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::metric::{Metric, ResampledMetric};

/// The measurements that tables show: of encoders at the end of their training, or after some steps.
#[derive(Default)]
pub struct Values {
    samples: BTreeMap<(String, Quantity), Sample>,
    datasets: BTreeSet<String>,
    /// Descriptions of encoders from files, by row.
    encoders: BTreeMap<String, BTreeSet<String>>,
    energy: EnergyFacts,
    not_finite: usize,
}

/// The values of every pretraining seed, at least one seed with one value, all finite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    draws: BTreeMap<u64, Vec<f64>>,
    /// Whether the encoder was pretrained elsewhere, so that its seeds do not pair with those of this run.
    external: bool,
    /// Values in the draws of a bootstrap over test objects, of an encoder that exists once; one for each
    /// cell, such as those of several segmentation heads.
    resampled: Vec<Resampled>,
    /// Interval of the mean over random draws of training images, of an encoder that exists once.
    over_draws: Option<(f64, f64)>,
}

/// How two samples were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Paired by pretraining seed, as both samples have the same seeds.
    Paired,
    /// Welch's test of independent samples.
    Welch,
    /// Paired by pretraining seed, at one of several looks.
    Sequential,
    /// Bootstrap over the test objects of two encoders that exist once each.
    Bootstrap,
}

/// A comparison of two samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// The first minus the second.
    pub difference: Difference,
    /// How it was tested.
    pub test: Test,
    /// Pretraining seeds of the first and of the second.
    sizes: (usize, usize),
}

impl Values {
    /// Values of the measurements among `cells` whose encoder was fully trained.
    pub fn at_end(cells: &[Cell]) -> Self {
        let mut values = Self::select(cells.iter().filter(|cell| cell.last));
        values.energy = energy_facts(cells);
        let derived = curve_values(cells).into_iter().chain(cost_values(cells));
        for CurveValue { method, quantity, seed, value } in derived {
            let sample = values.samples.entry((method.to_owned(), quantity)).or_default();
            sample.draws.entry(seed).or_default().push(value);
        }
        values
    }

    /// Values of the measurements among `cells` whose encoder had been trained for `step` steps.
    pub fn at_step(cells: &[Cell], step: u64) -> Self {
        Self::select(cells.iter().filter(|cell| cell.step == step))
    }

    fn select<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut values = Values::default();
        for cell in cells {
            cell.metrics.iter().for_each(|metric| values.add(cell, metric));
            cell.resampled.iter().for_each(|metric| values.add_draws(cell, metric));
            if let Some(encoder) = &cell.encoder {
                values.encoders.entry(cell.method.clone()).or_default().insert(encoder.line());
            }
        }
        values
    }

    /// The terms of the losses of all methods, sorted, as far as the encoder's gradient was measured.
    pub fn loss_terms(&self) -> BTreeSet<&str> {
        let prefix = Quantity::encoder_gradient("").metric;
        self.samples.keys().filter_map(|(_, quantity)| quantity.metric.strip_prefix(&prefix)).collect()
    }

    fn add(&mut self, cell: &Cell, metric: &Metric) {
        if matches!(cell.kind, CellKind::Probe | CellKind::Pretrain) {
            self.datasets.insert(metric.dataset.clone());
        }
        let quantity = quantity(cell, &metric.dataset, &metric.task, &metric.metric);
        if metric.value.is_finite() {
            let sample = self.samples.entry((metric.method.clone(), quantity)).or_default();
            sample.external = cell.external;
            sample.draws.entry(metric.pretrain_seed).or_default().push(metric.value);
        } else {
            self.not_finite += 1;
        }
    }

    /// Adds the draws of a metric to its values, which were added before.
    fn add_draws(&mut self, cell: &Cell, ResampledMetric { task, metric, values }: &ResampledMetric) {
        let Some(dataset) = cell.metrics.first().map(|metric| metric.dataset.as_str()) else { return };
        let key = (cell.method.clone(), quantity(cell, dataset, task, metric));
        if let Some(sample) = self.samples.get_mut(&key) {
            sample.resampled.extend(Resampled::from_values(values.clone()));
        }
    }

    /// What is known of the energy of the trainings.
    pub fn energy(&self) -> &EnergyFacts {
        &self.energy
    }

    /// The sample of a method, if it has one.
    pub fn sample(&self, method: &str, quantity: &Quantity) -> Option<&Sample> {
        self.samples.get(&(method.to_owned(), quantity.clone()))
    }

    /// The mean of a method's sample over its pretraining seeds.
    pub fn mean(&self, method: &str, quantity: &Quantity) -> Option<f64> {
        Some(self.sample(method, quantity)?.summary()?.mean)
    }

    /// The summary of a method's sample over its pretraining seeds, on the data that was trained on.
    pub fn summary(&self, method: &str, task: &str, metric: &str) -> Option<Summary> {
        self.sample(method, &Quantity::probed(task, metric)).and_then(Sample::summary)
    }

    /// Mean over all methods and seeds of this run, for values that depend on the data alone.
    pub fn overall(&self, task: &str, metric: &str) -> Option<f64> {
        let wanted = Quantity::probed(task, metric);
        let samples =
            self.samples.iter().filter(|((_, quantity), sample)| *quantity == wanted && !sample.external);
        let all: Vec<f64> = samples.flat_map(|(_, sample)| sample.values()).collect();
        Summary::from_values(&all).ok().map(|summary| summary.mean)
    }

    /// Names of the metrics of a task on another data set, sorted.
    pub fn metrics_on(&self, set: &str, task: &str) -> BTreeSet<&str> {
        let quantities = self.samples.keys().map(|(_, quantity)| quantity);
        let wanted =
            quantities.filter(|quantity| quantity.set.as_deref() == Some(set) && quantity.task == task);
        wanted.map(|quantity| quantity.metric.as_str()).collect()
    }

    /// Data sets that were trained on.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.datasets.iter().map(String::as_str)
    }

    /// Encoders from files by the names of their rows, in one line for each way in which they were read.
    pub fn encoders(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.encoders.iter();
        lines.flat_map(|(method, lines)| lines.iter().map(|line| (method.as_str(), line.as_str())))
    }

    /// Number of values that are NaN or infinite. No sample contains them.
    pub fn not_finite(&self) -> usize {
        self.not_finite
    }
}

/// The quantity that a metric of a cell belongs to.
fn quantity(cell: &Cell, dataset: &str, task: &str, metric: &str) -> Quantity {
    match cell.kind {
        CellKind::Transfer | CellKind::Segment => Quantity::on(dataset, task, metric),
        CellKind::Probe | CellKind::Pretrain | CellKind::Xray => Quantity::probed(task, metric),
    }
}

impl Sample {
    /// One value per pretraining seed, in their order: the mean over its draws.
    pub fn values(&self) -> Vec<f64> {
        self.draws.values().map(mean).collect()
    }

    /// Whether it is one encoder that was trained elsewhere. It has no further seeds to ask for.
    pub fn is_fixed(&self) -> bool {
        self.external && self.draws.len() == 1
    }

    /// Mean, spread and interval over the pretraining seeds. The interval of an encoder that exists once is
    /// that of the bootstrap over its test objects, or that over draws of training images.
    pub fn summary(&self) -> Option<Summary> {
        let summary = Summary::from_values(&self.values()).ok()?;
        let of_one = self.draws_of_one().map(|draws| draws.interval()).or(self.over_draws);
        Some(Summary { ci95: of_one.or(summary.ci95), ..summary })
    }

    /// The sample with the Student interval over its draws, if it is one encoder that was trained elsewhere.
    pub fn with_interval_over_draws(&self) -> Sample {
        let draws = self.draws.values().next().filter(|_| self.is_fixed());
        let summary = draws.and_then(|draws| Summary::from_values(draws).ok());
        Sample { over_draws: summary.and_then(|summary| summary.ci95), ..self.clone() }
    }

    /// The draws over test objects, if it is one encoder that was trained elsewhere.
    pub fn draws_of_one(&self) -> Option<Resampled> {
        self.resampled().filter(|_| self.is_fixed())
    }

    /// The draws of the mean over its cells.
    fn resampled(&self) -> Option<Resampled> {
        Resampled::mean(&self.resampled.iter().collect::<Vec<_>>())
    }

    /// Where the variance of the draws comes from.
    pub fn components(&self) -> Option<VarianceComponents> {
        VarianceComponents::from_values(&self.draws.values().cloned().collect::<Vec<_>>()).ok()
    }

    /// The mean of several samples, seed by seed, over the seeds that all of them have.
    pub fn mean(samples: &[&Sample]) -> Option<Sample> {
        let external = samples.iter().any(|sample| sample.external);
        let draws: Option<Vec<Resampled>> = samples.iter().map(|sample| sample.resampled()).collect();
        let resampled = draws.and_then(|draws| Resampled::mean(&draws.iter().collect::<Vec<_>>()));
        let resampled = resampled.into_iter().collect();
        let samples: Vec<_> = samples.iter().map(|sample| sample.by_seed()).collect();
        let of_seed = |seed: &u64| {
            let values =
                samples.iter().map(|sample| sample.get(seed).copied()).collect::<Option<Vec<f64>>>()?;
            Some((*seed, vec![mean(&values)]))
        };
        let seeds: BTreeMap<_, _> = samples.first()?.keys().filter_map(of_seed).collect();
        (!seeds.is_empty()).then_some(Sample { draws: seeds, external, resampled, over_draws: None })
    }

    /// Every value of the sample plus `by`.
    pub fn shifted(&self, by: f64) -> Sample {
        let shift = |draws: &Vec<f64>| draws.iter().map(|value| value + by).collect();
        let draws = self.draws.iter().map(|(seed, draws)| (*seed, shift(draws))).collect();
        let resampled = self.resampled.iter().map(|resampled| resampled.shifted(by)).collect();
        Sample { draws, external: self.external, resampled, over_draws: None }
    }

    /// Every value v as (v - floor) / (ceiling - floor), with the mean of the sample `floor`. In the draws
    /// over test objects, the floor is the one of the same draw. `None` if the ceiling is not above the
    /// floor.
    pub fn normalised(&self, floor: &Sample, ceiling: f64) -> Option<Sample> {
        let level = floor.summary()?.mean;
        let scaled = |value: f64, floor: f64| (value - floor) / (ceiling - floor);
        let each = |draws: &Vec<f64>| draws.iter().map(|&value| scaled(value, level)).collect();
        let draws = self.draws.iter().map(|(seed, draws)| (*seed, each(draws))).collect();
        let resampled = self.resampled().zip(floor.resampled()).and_then(|(own, floor)| {
            let pairs = own.values().iter().zip(floor.values());
            Resampled::from_values(pairs.map(|(&value, &floor)| scaled(value, floor)).collect())
        });
        let (external, resampled) = (self.external, resampled.into_iter().collect());
        (ceiling > level).then_some(Sample { draws, external, resampled, over_draws: None })
    }

    /// The mean over the draws of every pretraining seed.
    fn by_seed(&self) -> BTreeMap<u64, f64> {
        self.draws.keys().copied().zip(self.values()).collect()
    }

    /// Whether both samples have the same pretraining seeds of this run.
    pub fn pairs_with(&self, other: &Sample) -> bool {
        !self.external && !other.external && self.draws.keys().eq(other.draws.keys())
    }

    /// This sample minus `other`: paired if both have the same seeds of this run, and more than one; by the
    /// draws over test objects if both are encoders that exist once.
    pub fn minus(&self, other: &Sample) -> Option<Contrast> {
        let (a, b) = (self.values(), other.values());
        let draws = self.draws_of_one().zip(other.draws_of_one());
        if let Some(draws) = draws.and_then(|(own, other)| own.minus(&other)) {
            let (ci95, p) = (Some(draws.interval()), Some(draws.p()));
            let difference = Difference { mean: a[0] - b[0], ci95, p, t: None, df: None, cohen_d: None };
            return Some(Contrast { difference, test: Test::Bootstrap, sizes: (1, 1) });
        }
        let (test, difference) = match a.len() > 1 && self.pairs_with(other) {
            true => (Test::Paired, stats::paired(&a, &b)),
            false => (Test::Welch, stats::welch(&a, &b)),
        };
        difference.ok().map(|difference| Contrast { difference, test, sizes: (a.len(), b.len()) })
    }

    /// This sample minus `other`. With `looks`, the test is valid at any of them: it is paired over the seeds
    /// that both samples have, and absent if either was pretrained elsewhere.
    pub fn minus_at(&self, other: &Sample, looks: Option<Looks>) -> Option<Contrast> {
        let Some(looks) = looks else { return self.minus(other) };
        if self.external || other.external {
            let Contrast { difference: Difference { mean, .. }, test, sizes } = self.minus(other)?;
            let difference = Difference { mean, ci95: None, p: None, t: None, df: None, cohen_d: None };
            return Some(Contrast { difference, test, sizes });
        }
        let (first, second) = (self.by_seed(), other.by_seed());
        let common = first.iter().filter_map(|(seed, first)| Some((*first, *second.get(seed)?)));
        let (a, b): (Vec<f64>, Vec<f64>) = common.unzip();
        let difference = looks.paired(&a, &b).ok()?;
        Some(Contrast { difference, test: Test::Sequential, sizes: (a.len(), b.len()) })
    }
}

impl Contrast {
    /// Pretraining seeds of the first sample and of the second.
    pub fn sizes(&self) -> (usize, usize) {
        self.sizes
    }

    /// Hedges' g; `None` if the effect size's standard deviation has fewer than two degrees of freedom, for
    /// which the correction is not defined.
    pub fn hedges_g(&self) -> Option<f64> {
        let (a, b) = self.sizes;
        let degrees = match self.test {
            Test::Paired | Test::Sequential => a - 1,
            Test::Welch => a + b - 2,
            Test::Bootstrap => return None,
        };
        self.difference.cohen_d.filter(|_| degrees >= 2).map(|d| stats::hedges_g(d, degrees as f64))
    }

    /// Why so few seeds say little; `None` if there are enough.
    pub fn too_few(&self) -> Option<String> {
        let (a, b) = self.sizes;
        if self.test == Test::Bootstrap {
            return None;
        }
        let paired = self.test != Test::Welch;
        let why = stats::small_sample_warning(a, b, paired)?;
        Some(if paired { format!("{why} (paired: of the differences)") } else { why })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{pretrain, probe, value};
    use super::*;

    #[test]
    fn a_seed_counts_once_whatever_its_probe_seeds() {
        let cells = [
            probe(
                "Ours",
                0,
                &[value("rotation", "r2_per_output", 0, 0.2), value("rotation", "r2_per_output", 1, 0.4)],
            ),
            probe("Ours", 1, &[value("rotation", "r2_per_output", 0, 0.5)]),
        ];
        let values = Values::at_end(&cells);
        let summary = values.summary("Ours", "rotation", "r2_per_output").unwrap();
        assert_eq!(summary.n, 2);
        assert!((summary.mean - 0.4).abs() < 1e-12);
    }

    #[test]
    fn only_the_end_of_training_and_only_finite_values_count() {
        let mut early = probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.9)]);
        early.last = false;
        early.step = 5;
        let broken = probe("Ours", 1, &[value("rotation", "r2_per_output", 0, f64::NAN)]);
        let cells = [early, broken, pretrain("Ours", 0, &[])];
        let values = Values::at_end(&cells);
        let rotation = Quantity::probed("rotation", "r2_per_output");
        assert!(values.sample("Ours", &rotation).is_none());
        assert_eq!(values.not_finite(), 1);
        assert!(Values::at_step(&cells, 5).sample("Ours", &rotation).is_some());
    }

    fn sample(seeds: &[(u64, f64)]) -> Sample {
        let draws = seeds.iter().map(|(seed, value)| (*seed, vec![*value])).collect();
        Sample { draws, ..Sample::default() }
    }

    #[test]
    fn the_same_seeds_are_paired_and_others_are_not() {
        let (a, b) = (sample(&[(0, 0.5), (1, 0.7)]), sample(&[(0, 0.4), (1, 0.5)]));
        assert_eq!(a.minus(&b).unwrap().test, Test::Paired);
        assert_eq!(a.minus(&sample(&[(1, 0.4), (2, 0.5)])).unwrap().test, Test::Welch);
        let Contrast { difference, test, .. } = sample(&[(0, 0.5)]).minus(&sample(&[(0, 0.4)])).unwrap();
        assert_eq!((difference.ci95, test), (None, Test::Welch));
    }

    /// Differences 0.1, 0.2, 0.3: with looks after two and three seeds, the p value of the second look is the
    /// paired one divided by its share of 2/3. The fourth seed is not shared.
    #[test]
    fn looks_pair_the_seeds_that_both_have() {
        let (a, b) = (
            sample(&[(0, 0.5), (1, 0.7), (2, 0.9), (3, 0.2)]),
            sample(&[(0, 0.4), (1, 0.5), (2, 0.6), (4, 0.3)]),
        );
        let looks = Looks::new(2, 3).ok();
        let found = a.minus_at(&b, looks).unwrap();
        let three = sample(&[(0, 0.5), (1, 0.7), (2, 0.9)]);
        let once = three.minus(&sample(&[(0, 0.4), (1, 0.5), (2, 0.6)])).unwrap();
        assert_eq!((found.test, found.sizes), (Test::Sequential, (3, 3)));
        let ratio = found.difference.p.unwrap() / once.difference.p.unwrap();
        assert!((ratio - 1.5).abs() < 1e-9, "{ratio}");
        assert_eq!(three.minus_at(&b, None).unwrap().test, Test::Welch);
        let external = Sample { external: true, ..b };
        let Contrast { difference, .. } = a.minus_at(&external, looks).unwrap();
        assert_eq!((difference.p, difference.ci95), (None, None));
    }

    /// Two pairs have one degree of freedom, for which the correction of d is 0, so that there is no effect
    /// size.
    #[test]
    fn effect_sizes_want_two_degrees_of_freedom() {
        let (a, b) = (sample(&[(0, 0.5), (1, 0.7)]), sample(&[(0, 0.4), (1, 0.5)]));
        assert_eq!(a.minus(&b).unwrap().hedges_g(), None);
        let welch = a.minus(&sample(&[(2, 0.4), (3, 0.5)])).unwrap();
        let factor = welch.hedges_g().unwrap() / welch.difference.cohen_d.unwrap();
        assert!((factor - std::f64::consts::PI.sqrt().recip()).abs() < 1e-9, "{factor}"); // gamma(1) / gamma(1/2)
    }

    fn fixed(value: f64, draws: &[f64]) -> Sample {
        let resampled = Resampled::from_values(draws.to_vec()).into_iter().collect();
        Sample { external: true, resampled, ..sample(&[(0, value)]) }
    }

    #[test]
    fn encoders_that_exist_once_have_the_interval_of_their_draws() {
        let (a, b) = (fixed(0.5, &[0.4, 0.5, 0.6]), fixed(0.3, &[0.25, 0.3, 0.35]));
        let (low, high) = a.summary().unwrap().ci95.unwrap();
        assert!((low - 0.405).abs() < 1e-12 && (high - 0.595).abs() < 1e-12, "{low} {high}");
        assert_eq!(a.summary().unwrap().std, None);
        let Contrast { difference, test, .. } = a.minus(&b).unwrap();
        let (low, high) = difference.ci95.unwrap();
        assert_eq!((test, difference.p), (Test::Bootstrap, Some(0.5)));
        assert!((low - 0.1525).abs() < 1e-12 && (high - 0.2475).abs() < 1e-12, "{low} {high}");
        // draws of two cells, such as two segmentation heads, are averaged
        let mut two = fixed(0.5, &[0.4, 0.5, 0.6]);
        two.resampled.extend(Resampled::from_values(vec![0.2, 0.5, 0.4]));
        assert_eq!(two.draws_of_one().unwrap().values(), [0.30000000000000004, 0.5, 0.5]);
        // a row with seeds has no draws to compare with
        assert_eq!(a.minus(&sample(&[(0, 0.4), (1, 0.5)])).unwrap().test, Test::Welch);
        let mean = Sample::mean(&[&a, &b]).unwrap();
        assert_eq!(mean.draws_of_one(), Resampled::from_values(vec![0.325, 0.4, 0.475]));
    }

    #[test]
    fn means_over_sets_take_the_seeds_that_all_have() {
        let (a, b) = (sample(&[(0, 0.5), (1, 0.7), (2, 0.9)]), sample(&[(1, 0.5), (2, 0.1)]));
        assert_eq!(Sample::mean(&[&a, &b]).unwrap(), sample(&[(1, 0.6), (2, 0.5)]));
        assert_eq!(Sample::mean(&[&a, &sample(&[(7, 0.5)])]), None);
    }

    #[test]
    fn a_shift_moves_every_seed() {
        assert_eq!(sample(&[(1, 0.5), (3, 0.25)]).shifted(-0.25), sample(&[(1, 0.25), (3, 0.0)]));
    }

    #[test]
    fn transfers_stand_apart_by_their_data_set() {
        let on =
            |set: &str, top1| Metric { dataset: set.to_owned(), ..value("linear transfer", "top1", 0, top1) };
        let cell = Cell { kind: CellKind::Transfer, ..probe("Ours", 0, &[on("DTD", 0.5), on("Pets", 0.75)]) };
        let values = Values::at_end(&[cell]);
        let of =
            |set| values.sample("Ours", &Quantity::on(set, "linear transfer", "top1")).map(Sample::values);
        assert_eq!((of("DTD"), of("Pets"), of("Food101")), (Some(vec![0.5]), Some(vec![0.75]), None));
        assert!(
            values.datasets().next().is_none() && values.summary("Ours", "linear transfer", "top1").is_none()
        );
    }
}
