//! The entries of tables as CSV, one per row.

use std::borrow::Cow;

use anyhow::Result;
use serde::Serialize;

use super::format::{Document, Format, OutputFile};
use crate::report::metrics_csv::csv_text;
use crate::report::table::{Mark, Row, Table, TableEntry};
use crate::run_folder::csv_text::guarded;

/// An entry of a table. Fields that it does not have are empty.
#[derive(Default, Serialize)]
struct Record<'a> {
    /// Key of the data set. Suites with one data set do not have this column.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<Cow<'a, str>>,
    section: &'static str,
    row: Cow<'a, str>,
    column: Cow<'a, str>,
    value: Option<f64>,
    std: Option<f64>,
    ci95_low: Option<f64>,
    ci95_high: Option<f64>,
    n: Option<usize>,
    text: Cow<'a, str>,
    /// One value per pretraining seed, the mean over its draws, separated by spaces.
    values: String,
}

const RECORD: [&str; 10] =
    ["section", "row", "column", "value", "std", "ci95_low", "ci95_high", "n", "text", "values"];

/// One entry per row, at full precision: `section,row,column,value,std,ci95_low,ci95_high,n,text,values`.
/// `values` are those of the pretraining seeds.
pub struct Csv;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn output_file(&self) -> Option<OutputFile> {
        Some(OutputFile::Tables("csv"))
    }

    fn render(&self, document: &Document) -> Result<String> {
        let several = document.data_sets.iter().any(|data_set| data_set.context.part.is_some());
        let header = several.then_some("dataset").into_iter().chain(RECORD);
        let rows = document.data_sets.iter().flat_map(|data_set| {
            let rows =
                data_set.tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
            rows.flat_map(|(table, row)| records(data_set.context.part.as_deref(), table, row))
        });
        csv_text(header, rows)
    }
}

/// The entries of one table.
///
/// # Errors
/// None with entries of tables.
pub fn of_table(table: &Table) -> Result<String> {
    csv_text(RECORD, table.rows.iter().flat_map(|row| records(None, table, row)))
}

fn records<'a>(dataset: Option<&'a str>, table: &'a Table, row: &'a Row) -> impl Iterator<Item = Record<'a>> {
    let section = table.section;
    let place = move |column| Record {
        dataset: dataset.map(guarded),
        section,
        row: guarded(&row.label),
        column: guarded(column),
        ..Record::default()
    };
    table.columns.iter().zip(&row.entries).map(move |(column, entry)| record(place(column), entry))
}

fn record<'a>(place: Record<'a>, entry: &'a TableEntry) -> Record<'a> {
    let with_interval = |place, ci95: Option<(f64, f64)>| Record {
        ci95_low: ci95.map(|(low, _)| low),
        ci95_high: ci95.map(|(_, high)| high),
        ..place
    };
    match entry {
        TableEntry::Missing => place,
        TableEntry::Estimate { summary, values, mark, .. } => with_interval(
            Record {
                value: Some(summary.mean),
                std: summary.std,
                n: Some(summary.n),
                text: mark_text(*mark).into(),
                values: values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                ..place
            },
            summary.ci95,
        ),
        TableEntry::Difference(found) => {
            with_interval(Record { value: Some(found.mean), ..place }, found.ci95)
        }
        TableEntry::Reported { value, std } => Record { value: Some(*value), std: *std, ..place },
        TableEntry::Number(value) | TableEntry::Share(value) | TableEntry::Probability(value) => {
            Record { value: Some(*value), ..place }
        }
        TableEntry::Text(text) => Record { text: guarded(text), ..place },
    }
}

fn mark_text(mark: Mark) -> &'static str {
    match mark {
        Mark::None => "",
        Mark::Second => "runner-up",
        Mark::Best => "best",
        Mark::Significant => "best, significant",
    }
}
