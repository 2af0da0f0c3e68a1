//! What the reconstruction reads: its error with both views, and with either one taken from another image.

use super::ReportContext;
use super::table::{Mark, Note, Role, Row, Section, Table, TableEntry};
use super::values::{Quantity, Sample, Values};

/// Metric and heading of every column.
const COLUMNS: [(&str, &str); 5] = [
    ("mse_own", "own pair"),
    ("mse_other_view1", "other view 1"),
    ("mse_other_view2", "other view 2"),
    ("mse_mean_image", "mean image"),
    ("mse_copy_view1", "copy of view 1"),
];

/// The table of test errors, of the methods that reconstruct.
pub fn table(values: &Values, context: &ReportContext) -> Table {
    let rows: Vec<Row> = context.methods.iter().filter_map(|method| row(values, method)).collect();
    let notes = [
        "Mean squared error of the normalised view 2 on test pairs, mean ± standard deviation [95% interval] over pretraining \
         seeds.",
        "other view 1: keys and values come from another image; other view 2: the queries do. Where another view 1 costs \
         little and another view 2 much, the decoder lives on the query.",
    ];
    Table {
        section: Section::Reconstruction,
        title: "Reconstruction: test MSE".to_owned(),
        stub: "method",
        columns: COLUMNS.map(|(_, heading)| heading.to_owned()).to_vec(),
        rows,
        notes: notes.map(|note| Note::Plain(note.to_owned())).to_vec(),
    }
}

fn row(values: &Values, method: &str) -> Option<Row> {
    let sample = |metric| values.sample(method, &Quantity::probed("reconstruction", metric));
    let entries = COLUMNS.map(|(metric, _)| match sample(metric).map(Sample::values) {
        Some(values) => TableEntry::estimate(values.clone(), Mark::None, values.len() == 1),
        None => TableEntry::Missing,
    });
    let measured = entries.iter().any(|entry| !matches!(entry, TableEntry::Missing));
    measured.then(|| Row { label: method.to_owned(), role: Role::of(method), entries: entries.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::*;

    #[test]
    fn only_methods_that_reconstruct_have_a_row() {
        let context = context(&["rotation"], &["Ours", "VICReg"]);
        let cells = [
            probe("Ours", 0, &[value("reconstruction", "mse_own", 0, 0.11)]),
            probe("VICReg", 0, &[value("rotation", "r2_per_output", 0, 0.4)]),
        ];
        let found = table(&Values::of(&cells), &context);
        assert_eq!(found.rows.len(), 1);
        assert_eq!(found.rows[0].entries[0].parts(), ["0.110", "(n = 1)"]);
        assert!(matches!(found.rows[0].entries[1], TableEntry::Missing));
    }
}
