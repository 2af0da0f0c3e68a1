//! Values as CSV: every single one (`metrics.csv`), and the entries of tables.

use anyhow::{Context, Result};
use serde::Serialize;

use super::ReportContext;
use super::table::{Mark, Row, Table, TableEntry};
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::metric::Metric;

/// Columns of `metrics.csv`, in the order in which a metric is written.
const METRICS: [&str; 12] = [
    "suite",
    "table",
    "dataset",
    "task",
    "method",
    "metric",
    "pretrain_seed",
    "eval_seed",
    "value",
    "unit",
    "better",
    "cell",
];

/// Every value of the fully trained encoders, sorted, so that the same cells give the same file.
///
/// # Errors
/// Where a value cannot be written.
pub fn metrics(cells: &[Cell]) -> Result<String> {
    let measured = cells.iter().filter(|cell| cell.kind != CellKind::Pretrain && cell.last);
    let mut metrics: Vec<&Metric> = measured.flat_map(|cell| &cell.metrics).collect();
    metrics.sort_by(|a, b| order(a).cmp(&order(b)).then(a.value.total_cmp(&b.value)));
    written(METRICS, metrics)
}

fn order(metric: &Metric) -> impl Ord + '_ {
    let place = (&metric.suite, &metric.table, &metric.dataset, &metric.task, &metric.method, &metric.metric);
    (place, metric.pretrain_seed, metric.eval_seed, &metric.cell)
}

/// An entry of a table; what it does not have is empty.
#[derive(Default, Serialize)]
struct Record<'a> {
    /// Key of the data set; a column that suites with one do not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a str>,
    section: &'static str,
    row: &'a str,
    column: &'a str,
    value: Option<f64>,
    std: Option<f64>,
    ci95_low: Option<f64>,
    ci95_high: Option<f64>,
    n: Option<usize>,
    text: String,
    /// One a pretraining seed, the mean over its draws, with spaces between.
    values: String,
}

const RECORD: [&str; 10] =
    ["section", "row", "column", "value", "std", "ci95_low", "ci95_high", "n", "text", "values"];

/// The entries of the data sets' tables, one a row, at full precision.
///
/// # Errors
/// Where an entry cannot be written.
pub fn tables(sets: &[(&ReportContext, Vec<Table>)]) -> Result<String> {
    let several = sets.iter().any(|(context, _)| context.part.is_some());
    let header = several.then_some("dataset").into_iter().chain(RECORD);
    let rows = sets.iter().flat_map(|(context, tables)| {
        let rows = tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row)));
        rows.flat_map(|(table, row)| records(context.part.as_deref(), table, row))
    });
    written(header, rows)
}

fn records<'a>(dataset: Option<&'a str>, table: &'a Table, row: &'a Row) -> impl Iterator<Item = Record<'a>> {
    let section = table.section.name();
    let place = move |column| Record { dataset, section, row: &row.label, column, ..Record::default() };
    table.columns.iter().zip(&row.entries).map(move |(column, entry)| record(place(column), entry))
}

fn record<'a>(place: Record<'a>, entry: &TableEntry) -> Record<'a> {
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
                text: mark_text(*mark).to_owned(),
                values: values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                ..place
            },
            summary.ci95,
        ),
        TableEntry::Difference(found) => {
            with_interval(Record { value: Some(found.mean), ..place }, found.ci95)
        }
        TableEntry::Reported { value, std } => Record { value: Some(*value), std: *std, ..place },
        TableEntry::Number(value) | TableEntry::Probability(value) => Record { value: Some(*value), ..place },
        TableEntry::Text(text) => Record { text: text.clone(), ..place },
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

/// Header and rows; the header also where there is no row.
fn written<R: Serialize>(
    header: impl IntoIterator<Item = &'static str>,
    rows: impl IntoIterator<Item = R>,
) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().context("cannot write CSV to memory")?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{pretrain, probe, value};
    use super::*;

    #[test]
    fn metrics_are_sorted_and_only_of_the_end() {
        let mut early = probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.9)]);
        early.last = false;
        let mut constant = value("rotation", "r2_pooled_constant", 0, 0.25);
        constant.eval_seed = None;
        let cells = [
            probe("VICReg", 1, &[value("rotation", "r2_per_output", 0, 0.5)]),
            probe(
                "SIE(all, single each time)",
                0,
                &[value("rotation", "r2_per_output", 1, -0.125), constant],
            ),
            early,
            pretrain("Ours", 0, &[(1, 2.0)]),
        ];
        let expected = "\
            suite,table,dataset,task,method,metric,pretrain_seed,eval_seed,value,unit,better,cell\n\
            tiny,1,solids,rotation,\"SIE(all, single each time)\",r2_per_output,0,1,-0.125,R2,higher,probe-SIE(all, single each time)-0\n\
            tiny,1,solids,rotation,\"SIE(all, single each time)\",r2_pooled_constant,0,,0.25,R2,higher,probe-SIE(all, single each time)-0\n\
            tiny,1,solids,rotation,VICReg,r2_per_output,1,0,0.5,R2,higher,probe-VICReg-1\n";
        let expected =
            expected.replace("probe-SIE(all, single each time)-0", "\"probe-SIE(all, single each time)-0\"");
        assert_eq!(metrics(&cells).unwrap(), expected);
        assert_eq!(metrics(&[]).unwrap(), format!("{}\n", METRICS.join(",")));
    }
}
