//! What the reconstruction depends on: its error with both views, and with either view taken from another
//! image.

use super::section::Section;
use crate::registry::{Measure, shown_in};
use crate::report::context::ReportContext;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Sample, Values};

/// Test errors of the methods that reconstruct.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let rows: Vec<Row> = context.methods.iter().filter_map(|method| row(section, values, method)).collect();
    let notes = [
        "Mean squared error of the normalised view 2 on test pairs, mean ± standard deviation [95% interval] over \
         pretraining seeds.",
        "other view 1: keys and values come from another image; other view 2: the queries do. Where another view 1 costs \
         little and another view 2 much, the decoder lives on the query.",
    ];
    let headings = shown_in(section.name).map(|measure| measure.heading.to_owned()).collect();
    vec![section.table("method", headings, rows, notes.map(|note| Note::Plain(note.to_owned())).to_vec())]
}

fn row(section: &Section, values: &Values, method: &str) -> Option<Row> {
    let entry = |measure: &Measure| {
        let sample = values.sample(method, &Quantity::probed(measure.family.name(), measure.metric));
        match sample.map(Sample::values) {
            Some(values) => TableEntry::estimate(values.clone(), Mark::None, values.len() == 1),
            None => TableEntry::Missing,
        }
    };
    let entries: Vec<TableEntry> = shown_in(section.name).map(entry).collect();
    let measured = entries.iter().any(|entry| !matches!(entry, TableEntry::Missing));
    measured.then(|| Row { label: method.to_owned(), role: Role::from_row(method), entries })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};

    #[test]
    fn only_methods_that_reconstruct_have_a_row() {
        let context = context(&["rotation"], &["Ours", "VICReg"]);
        let cells = [
            probe("Ours", 0, &[value("reconstruction", "mse_own", 0, 0.11)]),
            probe("VICReg", 0, &[value("rotation", "r2_per_output", 0, 0.4)]),
        ];
        let found =
            tables(section("reconstruction", Group::Training), &Values::at_end(&cells), &context).remove(0);
        assert_eq!(found.rows.len(), 1);
        assert_eq!(found.rows[0].entries[0].words(), ["0.110", "(n = 1)"]);
        assert!(matches!(found.rows[0].entries[1], TableEntry::Missing));
    }
}
