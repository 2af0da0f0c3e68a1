//! The paper's values beside this run's.

use super::section::Section;
use crate::registry::{SEGMENTATION_TABLE, TRANSFER_TABLE};
use crate::report::context::ReportContext;
use crate::report::numbers::Unit;
use crate::report::paper_tables::{POOLED_TABLE, Reported, quantities, reported};
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Sample, Values};
use crate::suite_file::scale::Scale;

/// The quantities of the paper's table `number` that a run may measure, each with its name in the row label.
fn named_quantities(context: &ReportContext, number: u8) -> Vec<(String, Quantity)> {
    let name = |quantity: &Quantity| match &quantity.set {
        Some(set) if number == SEGMENTATION_TABLE => format!("{set} {}", quantity.metric),
        Some(set) => set.clone(),
        None => quantity.task.clone(),
    };
    quantities(number, context).into_iter().map(|quantity| (name(&quantity), quantity)).collect()
}

/// The table of the section's group beside this run's values, for the methods and tasks of the suite. It has
/// no rows if they have none in common.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let table = |number| {
        let (reported, quantities) = (reported(number), named_quantities(context, number));
        let rows =
            context.methods.iter().flat_map(|method| rows(values, method, &quantities, &reported)).collect();
        let columns = ["paper", "this run", "difference"].map(str::to_owned).to_vec();
        let scale = match context.scale {
            Scale::Full => "full scale",
            Scale::Reduced => "reduced",
        };
        let title = format!("{} {number} (paper: full scale; this run: {scale})", section.title);
        Table {
            title,
            ..section.table("method: task", columns, rows, notes(values, context, number, &reported))
        }
    };
    section.group.paper_table(context).map(table).into_iter().collect()
}

fn rows(
    values: &Values,
    method: &str,
    quantities: &[(String, Quantity)],
    reported: &[&Reported],
) -> Vec<Row> {
    let row = |(name, quantity): &(String, Quantity)| {
        let reported =
            reported.iter().find(|reported| reported.method == method && reported.is_of(quantity))?;
        Some(row(format!("{method}: {name}"), reported, values.sample(method, quantity)))
    };
    quantities.iter().filter_map(row).collect()
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
            TableEntry::estimate(values, Mark::None, show_n, Unit::Share),
            difference.map_or(TableEntry::Missing, TableEntry::Share),
        ],
    }
}

fn notes(values: &Values, context: &ReportContext, number: u8, reported: &[&Reported]) -> Vec<Note> {
    let mut notes = match number {
        TRANSFER_TABLE => vec!["The paper's percentages as fractions.".to_owned()],
        SEGMENTATION_TABLE => vec![],
        _ => own_data_notes(values, number, reported),
    };
    let mut absent: Vec<&str> = reported.iter().map(|reported| reported.method.as_str()).collect();
    absent.retain(|method| !context.methods.iter().any(|row| row == method));
    absent.dedup();
    if !absent.is_empty() {
        notes.push(format!("In the paper's table and not in this suite: {}.", absent.join("; ")));
    }
    notes.into_iter().map(Note::Plain).collect()
}

/// Notes on what differs if both measure the data set that was trained on.
fn own_data_notes(values: &Values, number: u8, reported: &[&Reported]) -> Vec<String> {
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
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::context::TransferColumn;
    use crate::report::fixture::{context, downstream, probe, value};
    use crate::report::numbers::Numbers;
    use crate::run_folder::cell::CellKind;

    fn table(group: Group, cells: &[crate::run_folder::cell::Cell], context: &ReportContext) -> Table {
        tables(section("paper", group), &Values::at_end(cells), context).remove(0)
    }

    #[test]
    fn table_1_is_held_against_pooled_values() {
        let context =
            ReportContext { table: Some(1), ..context(&["classification", "rotation"], &["Ours", "VICReg"]) };
        let cells = [probe(
            "Ours",
            0,
            &[value("rotation", "r2_pooled", 0, 0.5), value("rotation", "r2_per_output", 0, 0.1)],
        )];
        let found = table(Group::Training, &cells, &context);
        let text: Vec<_> =
            found.rows[1].entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect();
        assert_eq!(found.rows[1].label, "Ours: rotation");
        assert_eq!(text, ["0.554", "0.500 (n = 1)", "-0.054"]);
        assert!(found.notes.contains(&Note::Plain(
            "In the paper's table and not in this suite: SIE(rot); SIE(rot+color).".into()
        )));
    }

    #[test]
    fn transfer_and_segmentation_find_their_sets_by_name() {
        let set =
            |dataset: &str, metric: &str| TransferColumn { dataset: dataset.into(), metric: metric.into() };
        let context = ReportContext {
            transfers: vec![set("cifar-10", "top1"), set("Pets", "mean_per_class"), set("Flowers", "top1")],
            segmentations: vec!["ade20k".to_owned()],
            ..context(&[], &["Ours"])
        };
        let cells = [
            downstream(CellKind::Transfer, "Ours", 0, &[("cifar-10", "top1", 0.75)]),
            downstream(CellKind::Segment, "Ours", 0, &[("ade20k", "mAcc", 0.4)]),
        ];
        let texts = |group| {
            let rows = table(group, &cells, &context).rows;
            let text = |row: &Row| {
                (
                    row.label.clone(),
                    row.entries.iter().map(|e| e.words(Numbers::default()).join(" ")).collect::<Vec<_>>(),
                )
            };
            rows.iter().map(text).collect::<Vec<_>>()
        };
        let row = |label: &str, entries: [&str; 3]| (label.to_owned(), entries.map(str::to_owned).to_vec());
        let transfer = [
            row("Ours: cifar-10", ["0.811 ± 0.001", "0.750 (n = 1)", "-0.061"]),
            row("Ours: Pets", ["0.843 ± 0.001", "-", "-"]),
        ];
        assert_eq!(texts(Group::Transfer), transfer);
        let segmentation = [
            row("Ours: ade20k mIoU", ["0.312", "-", "-"]),
            row("Ours: ade20k mAcc", ["0.379", "0.400 (n = 1)", "0.021"]),
            row("Ours: ade20k aAcc", ["0.802", "-", "-"]),
        ];
        assert_eq!(texts(Group::Segmentation), segmentation);
    }
}
