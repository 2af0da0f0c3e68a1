//! The values of the paper's tables, and the metric of this program that each is held against.

use std::sync::LazyLock;

use serde::Deserialize;

use super::context::{ReportContext, TransferColumn};
use super::values::Quantity;
use crate::registry::{Measure, R2, R2Metric, SEGMENTATION_TABLE, TRANSFER_TABLE, TaskFamily, shown_in};

const TABLES: &str = include_str!("../../../results/paper/tables.csv");

/// The table whose R2 values the paper takes from SIE, which pools them.
pub const POOLED_TABLE: u8 = 1;

/// A line of the paper's tables.
#[derive(Clone, Debug, Deserialize)]
pub struct Reported {
    /// Number of the table.
    pub table: u8,
    /// The data set.
    pub dataset: String,
    /// `rotation`, `linear transfer`, ...
    pub task: String,
    /// The row.
    pub method: String,
    /// The metric, as the paper's tables name it.
    pub metric: String,
    /// The value; accuracies as fractions.
    pub value: f64,
    /// Its standard deviation, where the paper gives one.
    pub std: Option<f64>,
}

impl Reported {
    /// Converts percentages to fractions, which runs measure.
    fn into_fraction(self) -> Self {
        if self.metric != "accuracy_percent" {
            return self;
        }
        Reported { value: self.value / 100.0, std: self.std.map(|std| std / 100.0), ..self }
    }

    /// Whether the line can be compared with this quantity of a run. The paper gives one metric per task,
    /// except in its segmentation table.
    pub fn is_of(&self, quantity: &Quantity) -> bool {
        let same_set = quantity.set.as_ref().is_none_or(|set| same_name(set, &self.dataset));
        self.task == quantity.task
            && same_set
            && (self.table != SEGMENTATION_TABLE || self.metric == quantity.metric)
    }

    /// Name of its column: the data set if the table is about several, the metric if it has several for one
    /// task, else the task.
    pub fn column(&self) -> &str {
        match self.table {
            TRANSFER_TABLE => &self.dataset,
            SEGMENTATION_TABLE => &self.metric,
            _ => &self.task,
        }
    }
}

/// Whether two names of data sets differ only in case and punctuation.
pub fn same_name(a: &str, b: &str) -> bool {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    plain(a) == plain(b)
}

/// The metric that the paper's table `number` is held against for a task of the data set that was trained on.
pub fn metric(number: u8, task: &str) -> String {
    match TaskFamily::of_task(task).headline() {
        headline if *headline == R2 && number == POOLED_TABLE => R2Metric::POOLED.to_string(),
        headline => headline.metric.to_owned(),
    }
}

/// The lines of all tables.
static REPORTED: LazyLock<Vec<Reported>> = LazyLock::new(|| {
    let lines = csv::Reader::from_reader(TABLES.as_bytes()).into_deserialize();
    let all =
        lines.map(|line: Result<Reported, _>| line.expect("the file is part of the program, and tested"));
    all.map(Reported::into_fraction).collect()
});

/// The lines of the paper's table `number`.
pub fn reported(number: u8) -> Vec<&'static Reported> {
    REPORTED.iter().filter(|reported| reported.table == number).collect()
}

/// The quantities of a run that are held against the columns of the paper's table `number`.
pub fn quantities(number: u8, context: &ReportContext) -> Vec<Quantity> {
    match number {
        TRANSFER_TABLE => context.transfers.iter().map(TransferColumn::quantity).collect(),
        SEGMENTATION_TABLE => {
            let of_set = |set: &String| {
                let quantity = |measure: &Measure| Quantity::on(set, measure.family.name(), measure.metric);
                shown_in("segmentation").map(quantity).collect::<Vec<_>>()
            };
            context.segmentations.iter().flat_map(of_set).collect()
        }
        _ => context.tasks.iter().map(|task| Quantity::probed(task, &metric(number, task))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_can_be_read() {
        let sizes: Vec<usize> = (1..=6).map(|number| reported(number).len()).collect();
        assert_eq!(sizes, [9, 60, 12, 24, 42, 9]);
    }
}
