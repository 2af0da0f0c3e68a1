//! The values of the finished cells, by method, task and metric, reduced to one value a pretraining seed.

use std::collections::{BTreeMap, BTreeSet};

use eqr_probes::stats::{self, Difference, Summary};

use crate::store::{Cell, CellKind};

/// What the tables draw from: probes of encoders at the end of their training.
pub struct Values {
    samples: BTreeMap<Key, Sample>,
    datasets: BTreeSet<String>,
    not_finite: usize,
}

/// Method, task, metric.
type Key = (String, String, String);

/// One value a pretraining seed, at least one, all finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample(BTreeMap<u64, f64>);

/// How two samples were held against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// By pretraining seed, as both ran the same ones.
    Paired,
    /// Welch's, of independent samples.
    Welch,
}

impl Values {
    /// Values of the probes among `cells` whose encoder was fully trained.
    pub fn of(cells: &[Cell]) -> Self {
        Self::select(cells.iter().filter(|cell| cell.last))
    }

    /// Values of the probes among `cells` whose encoder had been trained for `step` steps.
    pub fn at_step(cells: &[Cell], step: u64) -> Self {
        Self::select(cells.iter().filter(|cell| cell.step == step))
    }

    fn select<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut draws: BTreeMap<Key, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        let mut values = Values { samples: BTreeMap::new(), datasets: BTreeSet::new(), not_finite: 0 };
        for metric in cells.filter(|cell| cell.kind == CellKind::Probe).flat_map(|cell| &cell.metrics) {
            values.datasets.insert(metric.dataset.clone());
            if metric.value.is_finite() {
                draws
                    .entry(key(&metric.method, &metric.task, &metric.metric))
                    .or_default()
                    .entry(metric.pretrain_seed)
                    .or_default()
                    .push(metric.value);
            } else {
                values.not_finite += 1;
            }
        }
        values.samples = draws.into_iter().map(|(key, seeds)| (key, Sample::of(seeds))).collect();
        values
    }

    /// The sample of a method, where it has one.
    pub fn sample(&self, method: &str, task: &str, metric: &str) -> Option<&Sample> {
        self.samples.get(&key(method, task, metric))
    }

    /// The summary of a method's sample over its pretraining seeds.
    pub fn summary(&self, method: &str, task: &str, metric: &str) -> Option<Summary> {
        self.sample(method, task, metric).and_then(Sample::summary)
    }

    /// Mean over all methods and seeds, for values that depend on the data alone.
    pub fn overall(&self, task: &str, metric: &str) -> Option<f64> {
        let wanted = self.samples.iter().filter(|((_, t, m), _)| *t == task && *m == metric);
        let all: Vec<f64> = wanted.flat_map(|(_, sample)| sample.0.values().copied()).collect();
        Summary::of(&all).ok().map(|summary| summary.mean)
    }

    /// Data sets that the values come from.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.datasets.iter().map(String::as_str)
    }

    /// Number of values that are NaN or infinite, which no sample contains.
    pub fn not_finite(&self) -> usize {
        self.not_finite
    }
}

fn key(method: &str, task: &str, metric: &str) -> Key {
    (method.to_owned(), task.to_owned(), metric.to_owned())
}

impl Sample {
    /// Each pretraining seed counts once, with the mean over its probe seeds.
    fn of(seeds: BTreeMap<u64, Vec<f64>>) -> Self {
        let mean = |draws: Vec<f64>| draws.iter().sum::<f64>() / draws.len() as f64;
        Sample(seeds.into_iter().map(|(seed, draws)| (seed, mean(draws))).collect())
    }

    fn values(&self) -> Vec<f64> {
        self.0.values().copied().collect()
    }

    /// Mean, spread and interval over the seeds.
    pub fn summary(&self) -> Option<Summary> {
        Summary::of(&self.values()).ok()
    }

    /// This sample less `other`: paired where both hold the same seeds, more than one.
    pub fn minus(&self, other: &Sample) -> Option<(Difference, Test)> {
        let (a, b) = (self.values(), other.values());
        let test = if a.len() > 1 && self.0.keys().eq(other.0.keys()) { Test::Paired } else { Test::Welch };
        let difference = match test {
            Test::Paired => stats::paired(&a, &b),
            Test::Welch => stats::welch(&a, &b),
        };
        difference.ok().map(|difference| (difference, test))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{pretrain, probe, value};
    use super::*;

    #[test]
    fn a_seed_counts_once_whatever_its_probe_seeds() {
        let cells = [
            probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.2), value("rotation", "r2_per_output", 1, 0.4)]),
            probe("Ours", 1, &[value("rotation", "r2_per_output", 0, 0.5)]),
        ];
        let values = Values::of(&cells);
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
        let values = Values::of(&cells);
        assert!(values.sample("Ours", "rotation", "r2_per_output").is_none());
        assert_eq!(values.not_finite(), 1);
        assert!(Values::at_step(&cells, 5).sample("Ours", "rotation", "r2_per_output").is_some());
    }

    #[test]
    fn the_same_seeds_are_paired_and_others_are_not() {
        let sample = |seeds: &[(u64, f64)]| Sample(seeds.iter().copied().collect());
        let (a, b) = (sample(&[(0, 0.5), (1, 0.7)]), sample(&[(0, 0.4), (1, 0.5)]));
        assert_eq!(a.minus(&b).unwrap().1, Test::Paired);
        assert_eq!(a.minus(&sample(&[(1, 0.4), (2, 0.5)])).unwrap().1, Test::Welch);
        let (single, test) = sample(&[(0, 0.5)]).minus(&sample(&[(0, 0.4)])).unwrap();
        assert_eq!((single.ci95, test), (None, Test::Welch));
    }
}
