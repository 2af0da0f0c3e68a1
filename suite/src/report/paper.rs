//! The paper's values beside this run's.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::downstream::{SEGMENTATION, SEGMENTED, TRANSFER};
use super::scores::Measure;
use super::table::{Mark, Note, Role, Row, Section, Table, TableEntry};
use super::values::{Quantity, Sample, Values};
use super::{ReportContext, Scale};

const TABLES: &str = include_str!("../../../results/paper/tables.csv");
/// The table whose R2 the paper takes over from SIE, which pools.
const POOLED_TABLE: u8 = 1;
/// The paper's table of linear transfer.
pub const TRANSFER_TABLE: u8 = 5;
/// The paper's table of segmentation.
pub const SEGMENTATION_TABLE: u8 = 6;

/// A line of the paper's tables.
#[derive(Clone, Debug, Deserialize)]
struct Reported {
    table: u8,
    dataset: String,
    task: String,
    method: String,
    metric: String,
    value: f64,
    std: Option<f64>,
}

impl Reported {
    /// Percentages as fractions, which is what runs measure.
    fn into_fraction(self) -> Self {
        if self.metric != "accuracy_percent" {
            return self;
        }
        Reported { value: self.value / 100.0, std: self.std.map(|std| std / 100.0), ..self }
    }

    /// Whether it can be held against this quantity of a run. Of a task the paper gives one metric, save in its table of segmentation.
    fn is_of(&self, quantity: &Quantity) -> bool {
        let same_set = quantity.set.as_ref().is_none_or(|set| same_name(set, &self.dataset));
        self.task == quantity.task
            && same_set
            && (self.table != SEGMENTATION_TABLE || self.metric == quantity.metric)
    }
}

/// Whether two names of data sets differ by case and punctuation alone.
fn same_name(a: &str, b: &str) -> bool {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    plain(a) == plain(b)
}

/// What a run may measure of the paper's table `number`: how a row calls it, and the quantity.
fn asked(context: &ReportContext, number: u8) -> Vec<(String, Quantity)> {
    match number {
        TRANSFER_TABLE => {
            let of_set = |set: &super::TransferColumn| {
                (set.dataset.clone(), Quantity::on(&set.dataset, TRANSFER, &set.metric))
            };
            context.transfers.iter().map(of_set).collect()
        }
        SEGMENTATION_TABLE => {
            let of_set = |set: &String| {
                SEGMENTED.map(|metric| (format!("{set} {metric}"), Quantity::on(set, SEGMENTATION, metric)))
            };
            context.segmentations.iter().flat_map(of_set).collect()
        }
        _ => {
            let metric = |task: &str| match Measure::of(task) {
                Measure::R2 if number == POOLED_TABLE => "r2_pooled",
                measure => measure.headline(),
            };
            context.tasks.iter().map(|task| (task.clone(), Quantity::probed(task, metric(task)))).collect()
        }
    }
}

/// The paper's table `number` beside this run's values, for the methods and tasks of the suite; without rows where they have none in common.
///
/// # Errors
/// Where the paper's values, which are part of the program, cannot be read.
pub fn table(values: &Values, context: &ReportContext, number: u8) -> Result<Table> {
    let reported = reported(number)?;
    let asked = asked(context, number);
    let rows = context.methods.iter().flat_map(|method| rows(values, method, &asked, &reported)).collect();
    Ok(Table {
        section: Section::Paper,
        title: title(number, context.scale),
        stub: "method: task",
        columns: ["paper", "this run", "difference"].map(str::to_owned).to_vec(),
        rows,
        notes: notes(values, context, number, &reported),
    })
}

fn reported(number: u8) -> Result<Vec<Reported>> {
    let all: Vec<Reported> = csv::Reader::from_reader(TABLES.as_bytes())
        .into_deserialize()
        .collect::<Result<_, _>>()
        .context("results/paper/tables.csv, as built into this program, is damaged")?;
    Ok(all.into_iter().filter(|reported| reported.table == number).map(Reported::into_fraction).collect())
}

fn title(number: u8, scale: Scale) -> String {
    let scale = match scale {
        Scale::Full => "full scale",
        Scale::Reduced => "reduced",
    };
    format!("Beside the paper's Table {number} (paper: full scale; this run: {scale})")
}

fn rows(values: &Values, method: &str, asked: &[(String, Quantity)], reported: &[Reported]) -> Vec<Row> {
    let row = |(name, quantity): &(String, Quantity)| {
        let reported =
            reported.iter().find(|reported| reported.method == method && reported.is_of(quantity))?;
        Some(row(format!("{method}: {name}"), reported, values.sample(method, quantity)))
    };
    asked.iter().filter_map(row).collect()
}

fn row(label: String, reported: &Reported, found: Option<&Sample>) -> Row {
    let values = found.map(Sample::values).unwrap_or_default();
    let difference = found.and_then(Sample::summary).map(|summary| summary.mean - reported.value);
    let show_n = values.len() == 1;
    Row {
        label,
        role: Role::Contestant,
        entries: vec![
            TableEntry::Reported { value: reported.value, std: reported.std },
            TableEntry::estimate(values, Mark::None, show_n),
            difference.map_or(TableEntry::Missing, TableEntry::Number),
        ],
    }
}

fn notes(values: &Values, context: &ReportContext, number: u8, reported: &[Reported]) -> Vec<Note> {
    let mut notes = match number {
        TRANSFER_TABLE => vec!["The paper's percentages as fractions.".to_owned()],
        SEGMENTATION_TABLE => vec![],
        _ => own_data_notes(values, number, reported),
    };
    let mut absent: Vec<&str> = reported.iter().map(|reported| reported.method.as_str()).collect();
    absent.retain(|method| !context.methods.iter().any(|known| known == method));
    absent.dedup();
    if !absent.is_empty() {
        notes.push(format!("In the paper's table and not in this suite: {}.", absent.join("; ")));
    }
    notes.into_iter().map(Note::Plain).collect()
}

/// What differs where both measure the data that was trained on.
fn own_data_notes(values: &Values, number: u8, reported: &[Reported]) -> Vec<String> {
    let r2 = if number == POOLED_TABLE { "pooled, as SIE defines it" } else { "per output" };
    let mut datasets: Vec<&str> = reported.iter().map(|reported| reported.dataset.as_str()).collect();
    datasets.dedup();
    let ours: Vec<&str> = values.datasets().collect();
    vec![
        format!("Data: the paper {}; this run {}.", datasets.join(", "), ours.join(", ")),
        format!("R2 of this run is {r2}; the paper does not say which R2 it reports."),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::*;

    #[test]
    fn the_built_in_tables_can_be_read() {
        let sizes: Vec<usize> = (1..=6).map(|number| reported(number).unwrap().len()).collect();
        assert_eq!(sizes, [9, 60, 12, 24, 42, 9]);
    }

    #[test]
    fn table_1_is_held_against_pooled_values() {
        let context = context(&["classification", "rotation"], &["Ours", "VICReg"]);
        let cells = [probe(
            "Ours",
            0,
            &[value("rotation", "r2_pooled", 0, 0.5), value("rotation", "r2_per_output", 0, 0.1)],
        )];
        let found = table(&Values::of(&cells), &context, 1).unwrap();
        let text: Vec<_> = found.rows[1].entries.iter().map(|entry| entry.parts().join(" ")).collect();
        assert_eq!(found.rows[1].label, "Ours: rotation");
        assert_eq!(text, ["0.554", "0.500 (n = 1)", "-0.054"]);
        assert!(found.notes.contains(&Note::Plain(
            "In the paper's table and not in this suite: SIE(rot); SIE(rot+color).".into()
        )));
    }

    #[test]
    fn transfer_and_segmentation_find_their_sets_by_name() {
        use super::super::TransferColumn;
        use crate::run_folder::cell::{Cell, CellKind};
        use crate::run_folder::metric::Metric;
        let cell = |kind, set: &str, task, metric, number| {
            let metric = Metric { dataset: set.to_owned(), ..value(task, metric, 0, number) };
            Cell { kind, ..probe("Ours", 0, &[metric]) }
        };
        let set =
            |dataset: &str, metric: &str| TransferColumn { dataset: dataset.into(), metric: metric.into() };
        let context = ReportContext {
            transfers: vec![set("cifar-10", "top1"), set("Pets", "mean_per_class"), set("Flowers", "top1")],
            segmentations: vec!["ade20k".to_owned()],
            ..context(&[], &["Ours"])
        };
        let cells = [
            cell(CellKind::Transfer, "cifar-10", TRANSFER, "top1", 0.75),
            cell(CellKind::Segment, "ade20k", SEGMENTATION, "mAcc", 0.4),
        ];
        let texts = |number| {
            let rows = table(&Values::of(&cells), &context, number).unwrap().rows;
            let text = |row: &Row| {
                (row.label.clone(), row.entries.iter().map(|e| e.parts().join(" ")).collect::<Vec<_>>())
            };
            rows.iter().map(text).collect::<Vec<_>>()
        };
        let row = |label: &str, entries: [&str; 3]| (label.to_owned(), entries.map(str::to_owned).to_vec());
        let transfer = [
            row("Ours: cifar-10", ["0.811 ± 0.001", "0.750 (n = 1)", "-0.061"]),
            row("Ours: Pets", ["0.843 ± 0.001", "-", "-"]),
        ];
        assert_eq!(texts(TRANSFER_TABLE), transfer);
        let segmentation = [
            row("Ours: ade20k mIoU", ["0.312", "-", "-"]),
            row("Ours: ade20k mAcc", ["0.379", "0.400 (n = 1)", "0.021"]),
            row("Ours: ade20k aAcc", ["0.802", "-", "-"]),
        ];
        assert_eq!(texts(SEGMENTATION_TABLE), segmentation);
    }
}
