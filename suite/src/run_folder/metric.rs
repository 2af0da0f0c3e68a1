//! A measured value, without and with the cell that it belongs to.

use eqr_probes::bootstrap::Resampled;
use serde::{Deserialize, Serialize};

use crate::registry::{Better, Measure, R2Metric};

/// One measured value: a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Suite name.
    pub suite: String,
    /// Number of the paper's table that it belongs to, or `-`.
    pub table: String,
    /// Name of the data set in the table.
    pub dataset: String,
    /// A transformation, or the name of another [`TaskFamily`](crate::registry::TaskFamily).
    pub task: String,
    /// Row of the table.
    pub method: String,
    /// Name of a [`Measure`], or of an [`R2Metric`].
    pub metric: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Seed of the probe; none if nothing is random.
    pub eval_seed: Option<u64>,
    /// The value.
    pub value: f64,
    /// `R2`, `fraction`, `MSE`.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// The cell it comes from.
    pub cell: String,
}

/// A measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredValue {
    /// As in [`Metric`].
    pub task: String,
    /// As in [`Metric`].
    pub metric: String,
    /// Seed of the probe; none if nothing is random.
    pub eval_seed: Option<u64>,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
}

/// The values of a metric in the draws of a bootstrap over test objects
/// ([`eqr_probes::bootstrap`]), for its mean over the seeds of its cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResampledMetric {
    /// As in [`Metric`].
    pub task: String,
    /// As in [`Metric`].
    pub metric: String,
    /// One value a draw, in the order of the draws, which are the same for all encoders that are tested on
    /// the same objects. Rounded to six decimals.
    pub values: Vec<f64>,
}

impl ResampledMetric {
    /// The draws of a metric.
    pub fn new(task: &str, metric: &str, draws: &Resampled) -> Self {
        let round = |value: &f64| (value * 1e6).round() / 1e6;
        let values = draws.values().iter().map(round).collect();
        ResampledMetric { task: task.to_owned(), metric: metric.to_owned(), values }
    }

    /// (low, high): the middle 95% of the draws.
    pub fn interval(&self) -> Option<(f64, f64)> {
        Some(Resampled::from_values(self.values.clone())?.interval())
    }
}

/// What a measure gives: values, and their draws if they are of an encoder that exists once.
#[derive(Debug, Default)]
pub struct MeasuredValues {
    /// The values.
    pub values: Vec<MeasuredValue>,
    /// Their draws.
    pub resampled: Vec<ResampledMetric>,
}

impl MeasuredValues {
    /// Adds the values and draws of another measure.
    pub fn extend(&mut self, other: MeasuredValues) {
        self.values.extend(other.values);
        self.resampled.extend(other.resampled);
    }
}

impl From<Vec<MeasuredValue>> for MeasuredValues {
    fn from(values: Vec<MeasuredValue>) -> Self {
        MeasuredValues { values, resampled: Vec::new() }
    }
}

/// Where values come from.
pub struct ValueOrigin<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// The paper's table that they belong to.
    pub table: Option<u8>,
    /// The data set used for the measurement.
    pub dataset: &'a str,
    /// Row of the table.
    pub method: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// The cell's id.
    pub cell: &'a str,
}

impl MeasuredValue {
    /// As a row of `metrics.csv`.
    pub fn metric(self, origin: &ValueOrigin) -> Metric {
        let ValueOrigin { suite, table, dataset, ref method, pretrain_seed, cell } = *origin;
        Metric {
            suite: suite.to_owned(),
            table: table.map_or("-".to_owned(), |table| table.to_string()),
            dataset: dataset.to_owned(),
            task: self.task,
            method: method.clone(),
            metric: self.metric,
            pretrain_seed,
            eval_seed: self.eval_seed,
            value: self.value,
            unit: self.unit.to_owned(),
            better: self.better,
            cell: cell.to_owned(),
        }
    }
}

impl Measure {
    /// A value of this measure. For a measure whose name ends with a slash, use [`Measure::value_of`].
    pub fn value(&self, eval_seed: Option<u64>, value: f64) -> MeasuredValue {
        let Measure { family, metric, unit, better, .. } = *self;
        MeasuredValue {
            task: family.name().to_owned(),
            metric: metric.to_owned(),
            eval_seed,
            value,
            unit,
            better,
        }
    }

    /// A value of this measure for `part`: a class, or a number of images.
    pub fn value_of(&self, part: &str, eval_seed: Option<u64>, value: f64) -> MeasuredValue {
        MeasuredValue { metric: format!("{}{part}", self.metric), ..self.value(eval_seed, value) }
    }
}

impl R2Metric {
    /// A value of this metric for a transformation.
    pub fn value(self, transformation: &str, eval_seed: Option<u64>, value: f64) -> MeasuredValue {
        MeasuredValue {
            task: transformation.to_owned(),
            metric: self.to_string(),
            eval_seed,
            value,
            unit: self.unit(),
            better: Better::Higher,
        }
    }
}
