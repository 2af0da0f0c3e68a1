//! A measured value before and after it knows its cell.

use serde::{Deserialize, Serialize};

/// One measured value: a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Suite name.
    pub suite: String,
    /// Number of the paper's table that it belongs to, or `-`.
    pub table: String,
    /// Data set as it stands in the table.
    pub dataset: String,
    /// `classification`, `rotation`, `color`, ..., `reconstruction`, `retrieval`, `linear transfer` or `segmentation`.
    pub task: String,
    /// Row of the table.
    pub method: String,
    /// `r2_per_output`, `r2_pooled`, `top1`, ...; a readout other than y is appended as in `r2_per_output_grid`.
    pub metric: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Seed of the probe; none where nothing is drawn.
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

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Larger is better.
    Higher,
    /// Smaller is better.
    Lower,
}

/// A measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredValue {
    /// What was asked: `rotation`, `classification`, ...
    pub task: String,
    /// What of the answer it is: `r2_per_output`, `top1`, ...
    pub metric: String,
    /// Seed of the probe; none where nothing is drawn.
    pub eval_seed: Option<u64>,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
}

/// Whose values they are.
pub struct ValueOrigin<'a> {
    /// Name of the suite.
    pub suite: &'a str,
    /// The paper's table that they belong to.
    pub table: Option<u8>,
    /// The set that was measured on.
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
