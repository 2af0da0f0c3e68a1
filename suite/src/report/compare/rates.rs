//! Speed and energy of trainings: values that depend on the hardware, and of which every run of a series is
//! one.

use anyhow::Result;
use eqr_probes::stats::{Summary, prediction_test, welch};

use super::record::{Record, Trainings};
use super::{ComparedMetric, HISTORY, Thresholds, Verdict};
use crate::report::mean::mean;

/// What is compared on equal hardware alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Steps per second; higher is better.
    Speed,
    /// Watt-hours per million views; lower is better.
    Energy,
}

impl Rate {
    /// All, in the order of the lines.
    pub const ALL: [Rate; 2] = [Rate::Speed, Rate::Energy];

    /// The series of its lines.
    pub fn series(self) -> &'static str {
        match self {
            Rate::Speed => "speed",
            Rate::Energy => "energy",
        }
    }

    /// Unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Rate::Speed => "steps/s",
            Rate::Energy => "Wh per million views",
        }
    }

    /// The values of a run.
    pub fn of(self, run: &Record) -> &Trainings {
        match self {
            Rate::Speed => &run.speeds,
            Rate::Energy => &run.energies,
        }
    }

    /// The sign that makes larger values better.
    pub fn sign(self) -> f64 {
        match self {
            Rate::Speed => 1.0,
            Rate::Energy => -1.0,
        }
    }

    /// What `after` gains over `before`, as a fraction of it; positive is better.
    fn gain(self, before: f64, after: f64) -> f64 {
        self.sign() * (after / before - 1.0)
    }

    /// Compares the trainings of two runs. A loss counts if it exceeds the threshold and the interval of the
    /// difference excludes zero.
    pub fn compared(
        self,
        baseline: &Record,
        candidate: &Record,
        thresholds: &Thresholds,
    ) -> Result<Vec<ComparedMetric>> {
        let mut metrics = Vec::new();
        for (name, before) in self.of(baseline) {
            let Some(after) = self.of(candidate).get(name) else { continue };
            let (summary, found) = (Summary::from_values(before)?, Summary::from_values(after)?);
            let gain = self.gain(summary.mean, found.mean);
            // from the lowest to the highest gain
            let interval = welch(after, before)?.ci95.map(|(low, high)| match self {
                Rate::Speed => (low, high),
                Rate::Energy => (-high, -low),
            });
            let verdict = match interval {
                _ if before.len() < HISTORY => Verdict::InsufficientHistory,
                Some((_, high)) if high < 0.0 && -gain > thresholds.slower => Verdict::Regression,
                Some((low, _)) if low > 0.0 && gain > thresholds.slower => Verdict::Improvement,
                None => Verdict::InsufficientHistory,
                Some(_) => Verdict::Ok,
            };
            let name = format!("{name}, {}", self.unit());
            let (series, baseline, candidate) = (self.series(), summary, found);
            metrics.push(ComparedMetric { series, name, baseline, candidate, gain, p_drop: None, verdict });
        }
        Ok(metrics)
    }

    /// Compares a run's mean with those of earlier runs. A loss counts if it exceeds the threshold and one
    /// more run of the series would be that bad with a probability below `alpha`.
    pub fn compared_with_runs(
        self,
        runs: &[&Record],
        candidate: &Record,
        thresholds: &Thresholds,
    ) -> Result<Vec<ComparedMetric>> {
        let mut metrics = Vec::new();
        for (name, after) in self.of(candidate) {
            let before: Vec<f64> = runs.iter().filter_map(|run| self.of(run).get(name)).map(mean).collect();
            if before.is_empty() {
                continue;
            }
            let (summary, found) = (Summary::from_values(&before)?, Summary::from_values(&[mean(after)])?);
            let gain = self.gain(summary.mean, found.mean);
            let unlikely =
                prediction_test(&before, found.mean)?.p.is_some_and(|p| p / 2.0 < thresholds.alpha);
            let verdict = match () {
                () if before.len() < HISTORY => Verdict::InsufficientHistory,
                () if unlikely && -gain > thresholds.slower => Verdict::Regression,
                () if unlikely && gain > thresholds.slower => Verdict::Improvement,
                () => Verdict::Ok,
            };
            let name = self.line_of_runs(name);
            let (series, baseline, candidate) = (self.series(), summary, found);
            metrics.push(ComparedMetric { series, name, baseline, candidate, gain, p_drop: None, verdict });
        }
        Ok(metrics)
    }

    /// Name of a line of which every run is one value.
    pub fn line_of_runs(self, method: &str) -> String {
        format!("{method}, {} of a run", self.unit())
    }
}
