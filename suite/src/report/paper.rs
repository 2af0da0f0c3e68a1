//! The paper's values beside this run's.

use anyhow::{Context, Result};
use eqr_probes::stats::Summary;
use serde::Deserialize;

use super::table::{Entry, Mark, Note, Role, Row, Section, Table};
use super::values::Values;
use super::{ReportContext, Scale};

const TABLES: &str = include_str!("../../../results/paper/tables.csv");
/// The table whose R2 the paper takes over from SIE, which pools.
const POOLED_TABLE: u8 = 1;

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
    /// The metric of a run that this value can be held against.
    fn counterpart(&self) -> Option<&'static str> {
        match self.metric.as_str() {
            "top1" => Some("top1"),
            "r2" if self.table == POOLED_TABLE => Some("r2_pooled"),
            "r2" => Some("r2_per_output"),
            _ => None,
        }
    }
}

/// The paper's table `number` beside this run's values, for the methods and tasks of the suite.
///
/// # Errors
/// Where the paper's values, which are part of the program, cannot be read.
pub fn table(values: &Values, context: &ReportContext, number: u8) -> Result<Table> {
    let reported = reported(number)?;
    let rows = context.methods.iter().flat_map(|method| rows(values, context, method, &reported)).collect();
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
    Ok(all.into_iter().filter(|reported| reported.table == number && reported.counterpart().is_some()).collect())
}

fn title(number: u8, scale: Scale) -> String {
    let scale = match scale {
        Scale::Full => "full scale",
        Scale::Reduced => "reduced",
    };
    format!("Beside the paper's Table {number} (paper: full scale; this run: {scale})")
}

fn rows(values: &Values, context: &ReportContext, method: &str, reported: &[Reported]) -> Vec<Row> {
    let find = |task: &String| reported.iter().find(|r| r.method == method && r.task == *task);
    context.tasks.iter().filter_map(find).map(|reported| row(values, reported)).collect()
}

fn row(values: &Values, reported: &Reported) -> Row {
    let found = reported.counterpart().and_then(|metric| values.summary(&reported.method, &reported.task, metric));
    let difference = found.as_ref().map(|summary| summary.mean - reported.value);
    let estimate = |summary: Summary| Entry::Estimate { show_n: summary.n == 1, summary, mark: Mark::None };
    Row {
        label: format!("{}: {}", reported.method, reported.task),
        role: Role::Contestant,
        entries: vec![
            Entry::Reported { value: reported.value, std: reported.std },
            found.map_or(Entry::Missing, estimate),
            difference.map_or(Entry::Missing, Entry::Number),
        ],
    }
}

fn notes(values: &Values, context: &ReportContext, number: u8, reported: &[Reported]) -> Vec<Note> {
    let r2 = if number == POOLED_TABLE { "pooled, as SIE defines it" } else { "per output" };
    let mut datasets: Vec<&str> = reported.iter().map(|reported| reported.dataset.as_str()).collect();
    datasets.dedup();
    let ours: Vec<&str> = values.datasets().collect();
    let mut notes = vec![
        Note::Plain(format!("Data: the paper {}; this run {}.", datasets.join(", "), ours.join(", "))),
        Note::Plain(format!("R2 of this run is {r2}; the paper does not say which R2 it reports.")),
    ];
    let mut absent: Vec<&str> = reported.iter().map(|reported| reported.method.as_str()).collect();
    absent.retain(|method| !context.methods.iter().any(|known| known == method));
    absent.dedup();
    if !absent.is_empty() {
        notes.push(Note::Plain(format!("In the paper's table and not in this suite: {}.", absent.join("; "))));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::*;

    #[test]
    fn the_built_in_tables_can_be_read() {
        let sizes: Vec<usize> = (1..=6).map(|number| reported(number).unwrap().len()).collect();
        assert_eq!(sizes, [9, 60, 12, 24, 0, 0]);
    }

    #[test]
    fn table_1_is_held_against_pooled_values() {
        let context = context(&["classification", "rotation"], &["Ours", "VICReg"]);
        let cells =
            [probe("Ours", 0, &[value("rotation", "r2_pooled", 0, 0.5), value("rotation", "r2_per_output", 0, 0.1)])];
        let found = table(&Values::of(&cells), &context, 1).unwrap();
        let text: Vec<_> = found.rows[1].entries.iter().map(|entry| entry.parts().join(" ")).collect();
        assert_eq!(found.rows[1].label, "Ours: rotation");
        assert_eq!(text, ["0.554", "0.500 (n = 1)", "-0.054"]);
        assert!(
            found
                .notes
                .contains(&Note::Plain("In the paper's table and not in this suite: SIE(rot); SIE(rot+color).".into()))
        );
    }
}
