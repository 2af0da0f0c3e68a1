//! Transfer from a few training images of each class.

use std::collections::{BTreeMap, BTreeSet};

use super::section::Section;
use crate::registry::{FEW_SHOT, TaskFamily, find};
use crate::report::column::{self, Column};
use crate::report::context::{ReportContext, TransferColumn};
use crate::report::table::{Note, Table};
use crate::report::values::{Quantity, Sample, Values};

/// One column for each set and number of images.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let columns: Vec<Column> =
        context.transfers.iter().flat_map(|set| columns_of(set, values, context)).collect();
    let headings = columns.iter().map(Column::heading).collect();
    let notes = [
        Some(column::reading_note(&columns, Some("random draws of the training images"))),
        column::single_note(&columns),
        fixed_note(&columns),
        column::missing_note(&columns),
    ];
    let notes = notes.into_iter().flatten().collect();
    vec![section.table("method", headings, column::rows(&columns), notes)]
}

/// The columns of a set, by ascending number of images.
fn columns_of(set: &TransferColumn, values: &Values, context: &ReportContext) -> Vec<Column> {
    let task = TaskFamily::LinearTransfer.name();
    let prefix = format!("{FEW_SHOT}{}/", set.metric);
    let metrics = values.metrics_on(&set.dataset, task).into_iter();
    let by_shots: BTreeMap<u64, &str> =
        metrics.filter_map(|metric| Some((metric.strip_prefix(&prefix)?.parse().ok()?, metric))).collect();
    let column = |(shots, metric): (u64, &str)| {
        let quantity = Quantity::on(&set.dataset, task, metric);
        let sample = |method: &str| values.sample(method, &quantity).map(Sample::with_interval_over_draws);
        let heading = find(task, metric).map_or(metric, |measure| measure.heading);
        Column::new(&format!("{}, {shots} a class", set.dataset), heading, &context.methods, sample)
            .without_ceiling()
    };
    by_shots.into_iter().map(column).collect()
}

/// A note on the rows of a single encoder that was trained elsewhere.
fn fixed_note(columns: &[Column]) -> Option<Note> {
    let methods = columns.iter().flat_map(|column| &column.samples);
    let fixed = methods.filter(|method| method.sample.as_ref().is_some_and(Sample::is_fixed));
    let names: BTreeSet<&str> = fixed.map(|method| method.method.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| {
        Note::Plain(format!(
            "{}: one training, made elsewhere; its interval is Student's over the draws of training images, and \
             holds no spread over seeds.",
            names.join("; ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, downstream};
    use crate::report::numbers::Numbers;
    use crate::run_folder::cell::{Cell, CellKind};

    /// Ours has one seed, whose two draws are averaged. DINO exists once: its interval is over the draws, 0.4
    /// and 0.6: 0.5 -+ 12.706 x 0.1.
    #[test]
    fn a_column_a_number_of_images() {
        let set = TransferColumn { dataset: "DTD".into(), metric: "top1".into() };
        let context = ReportContext { transfers: vec![set], ..context(&[], &["Ours", "DINO"]) };
        let draws = |one: f64, other: f64| {
            [
                ("DTD", "few_shot_top1/10", one),
                ("DTD", "few_shot_top1/10", other),
                ("DTD", "few_shot_top1/2", 0.25),
                ("DTD", "few_shot_mean_per_class/2", 0.125),
            ]
        };
        let ours = downstream(CellKind::Transfer, "Ours", 0, &draws(0.2, 0.4));
        let dino = Cell { external: true, ..downstream(CellKind::Transfer, "DINO", 0, &draws(0.4, 0.6)) };
        let values = Values::at_end(&[ours, dino]);
        let section = section("few shots", Group::Transfer);
        let table = tables(section, &values, &context).remove(0);
        assert_eq!(table.columns, ["DTD, 2 a class top-1", "DTD, 10 a class top-1"]);
        let words = |row: usize| table.rows[row].entries[1].words(Numbers::default()).join(" ");
        assert_eq!(words(0), "0.300");
        assert_eq!(words(1), "0.500 [-0.771, 1.771]");
        let said = format!("{:?}", table.notes);
        assert!(said.contains("mean over its random draws") && said.contains("DINO: one training"), "{said}");
    }
}
