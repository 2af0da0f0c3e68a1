//! Classification of other data sets by the frozen encoders: linear transfer and nearest neighbours.

use eqr_probes::knn::NEIGHBOURS;
use eqr_probes::transfer::GridEnd;

use super::scores::encoder_notes;
use super::section::Section;
use crate::registry::{BY_NEIGHBOURS, LAMBDA, SHIFTED, TaskFamily, find};
use crate::report::column::{self, Column};
use crate::report::context::{ReportContext, TransferColumn};
use crate::report::table::{Note, Table};
use crate::report::values::{Quantity, Sample, Values};

/// Logistic regression.
pub fn linear(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let mut table = table(section, &linear_columns(values, context));
    table.notes.extend(end_of_grid_notes(values, context));
    table.notes.extend(encoder_notes(values));
    vec![table]
}

/// The rows and sets for which an end of the grid of penalties was chosen: a penalty beyond it may be better.
fn end_of_grid_notes(values: &Values, context: &ReportContext) -> Vec<Note> {
    let ends = |set: &str, end: GridEnd| {
        let quantity = Quantity::on(set, TaskFamily::LinearTransfer.name(), LAMBDA.metric);
        let chosen = |method: &&String| {
            values
                .sample(method, &quantity)
                .is_some_and(|sample| sample.values().iter().any(|&lambda| GridEnd::of(lambda) == Some(end)))
        };
        context.methods.iter().filter(chosen).cloned().collect::<Vec<String>>()
    };
    let note = |TransferColumn { dataset, .. }: &TransferColumn| {
        [(GridEnd::Weakest, "weakest", "weaker"), (GridEnd::Strongest, "strongest", "stronger")].map(
            |(end, name, beyond)| {
                let methods = ends(dataset, end);
                (!methods.is_empty()).then(|| {
                    Note::Plain(format!(
                        "{dataset}: the {name} penalty of the grid was chosen for {}; a {beyond} one may be better.",
                        methods.join(", ")
                    ))
                })
            },
        )
    };
    context.transfers.iter().flat_map(note).flatten().collect()
}

/// Nearest neighbours.
pub fn neighbours(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let table = table(section, &columns(values, context, BY_NEIGHBOURS));
    vec![Table { title: format!("{NEIGHBOURS} {}", section.title), ..table }]
}

/// Logistic regression on test images from ranges that it was not trained on.
pub fn shifted(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    vec![table(section, &columns(values, context, SHIFTED))]
}

/// Accuracies of logistic regression, one column per set, and their mean.
pub fn linear_columns(values: &Values, context: &ReportContext) -> Vec<Column> {
    columns(values, context, "")
}

/// One column per set for which any method has values. If there are several sets, also the mean of the
/// methods that have all of them.
fn columns(values: &Values, context: &ReportContext, prefix: &str) -> Vec<Column> {
    let task = TaskFamily::LinearTransfer.name();
    let column = |TransferColumn { dataset, metric }: &TransferColumn| {
        let metric = format!("{prefix}{metric}");
        let heading = find(task, &metric).map_or(metric.as_str(), |measure| measure.heading);
        let quantity = Quantity::on(dataset, task, &metric);
        let sample = |method: &str| values.sample(method, &quantity).cloned();
        Column::new(dataset, heading, &context.methods, sample).without_ceiling()
    };
    let mut columns: Vec<Column> = context.transfers.iter().map(column).filter(Column::has_values).collect();
    if columns.len() > 1 {
        let of_all = |method: &str| {
            Sample::mean(&columns.iter().map(|column| column.sample(method)).collect::<Option<Vec<_>>>()?)
        };
        let subject = format!("mean of {}", columns.len());
        let mean = Column::new(&subject, "", &context.methods, of_all).without_ceiling();
        columns.extend(Some(mean).filter(Column::has_values));
    }
    columns
}

fn table(section: &Section, columns: &[Column]) -> Table {
    let mean = "The mean is of the methods that have every set, seed by seed.";
    let mean = columns
        .iter()
        .any(|column| column.subject.starts_with("mean of "))
        .then(|| Note::Plain(mean.to_owned()));
    let notes = [
        Some(column::reading_note(columns, None)),
        column::single_note(columns),
        column::fixed_note(columns),
        column::missing_note(columns),
        mean,
    ];
    let headings = columns.iter().map(Column::heading).collect();
    section.table("method", headings, column::rows(columns), notes.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, downstream};
    use crate::report::numbers::Numbers;
    use crate::report::table::{Mark, Role, Row};
    use crate::run_folder::cell::CellKind;

    fn texts(row: &Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect()
    }

    fn transfers(sets: &[(&str, &str)]) -> ReportContext {
        let column = |(dataset, metric): &(&str, &str)| TransferColumn {
            dataset: (*dataset).into(),
            metric: (*metric).into(),
        };
        let methods = ["Random init", "VICReg", "Ours", "Direct regression"];
        ReportContext { transfers: sets.iter().map(column).collect(), ..context(&[], &methods) }
    }

    /// VICReg lacks a set, so it has no mean. Ours leads by 0.2 on DTD in every seed, up to rounding.
    #[test]
    fn transfer_sets_stand_side_by_side_with_their_mean() {
        let context = transfers(&[("DTD", "top1"), ("Pets", "mean_per_class"), ("Food101", "top1")]);
        let of = |method, seed, dtd, pets| {
            let values = [
                ("DTD", "top1", dtd),
                ("Pets", "mean_per_class", pets),
                ("DTD", "knn_top1", 0.25),
                ("DTD", "lambda", if seed == 0 { 1e5 } else { 9.0 }),
            ];
            downstream(CellKind::Transfer, method, seed, &values)
        };
        let cells = [
            of("Ours", 0, 0.5, 0.7),
            of("Ours", 1, 0.6, 0.8),
            of("Ours", 2, 0.55, 0.75),
            downstream(CellKind::Transfer, "VICReg", 0, &[("DTD", "top1", 0.30)]),
            downstream(CellKind::Transfer, "VICReg", 1, &[("DTD", "top1", 0.401)]),
            downstream(CellKind::Transfer, "VICReg", 2, &[("DTD", "top1", 0.3505)]),
            of("Direct regression", 0, 0.9, 0.9),
        ];
        let values = Values::at_end(&cells);
        let table = |name| {
            let section = section(name, Group::Transfer);
            (section.tables)(section, &values, &context).remove(0)
        };
        let [linear, differences, neighbours] = ["transfer", "differences", "neighbours"].map(table);
        let said = |note: &Note| matches!(note, Note::Plain(text) if text.contains("DTD: the strongest penalty of the grid was chosen for Ours, Direct regression;"));
        assert!(linear.notes.iter().any(said), "{:?}", linear.notes);
        assert_eq!(linear.columns, ["DTD top-1", "Pets mean per class", "mean of 2"]);
        assert_eq!(texts(&linear.rows[1])[1..], ["-", "-"]);
        assert!(texts(&linear.rows[2])[2].starts_with("0.650 ± 0.050"), "{:?}", texts(&linear.rows[2]));
        assert_eq!(linear.rows[2].entries[0].mark(), Mark::Significant);
        assert_eq!(
            (linear.rows[3].role, texts(&linear.rows[3])[0].as_str()),
            (Role::Reference, "0.900 (n = 1)")
        );
        let labels: Vec<&str> = differences.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["DTD: Ours - VICReg"]);
        assert_eq!(neighbours.columns, ["DTD top-1"]);
        assert!(texts(&neighbours.rows[2])[0].starts_with("0.250"));
    }

    #[test]
    fn nothing_measured_is_no_table() {
        let tables = linear(
            section("transfer", Group::Transfer),
            &Values::at_end(&[]),
            &transfers(&[("DTD", "top1")]),
        );
        assert!(!tables[0].has_values());
    }
}
