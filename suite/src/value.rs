//! A measured value before and after it knows its cell.

use crate::store::{Better, Metric};

/// A measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
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
pub struct Origin<'a> {
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

impl Value {
    /// As a row of `metrics.csv`.
    pub fn metric(self, origin: &Origin) -> Metric {
        let Origin { suite, table, dataset, ref method, pretrain_seed, cell } = *origin;
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
