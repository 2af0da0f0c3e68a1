//! How strongly each term of a loss moves the encoder.

use super::section::Section;
use crate::report::context::ReportContext;
use crate::report::numbers::Unit;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Values};

/// The term of the reconstruction.
const RECONSTRUCTION: &str = "reconstruction";

/// Norms of the encoder's gradient: one row per trained method, one column per term.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let terms = values.loss_terms();
    let row = |method: &String| {
        let entry = |term: &&str| match values.sample(method, &Quantity::encoder_gradient(term)) {
            Some(sample) => {
                TableEntry::estimate(sample.values(), Mark::None, sample.values().len() == 1, Unit::Other)
            }
            None => TableEntry::Missing,
        };
        let entries: Vec<TableEntry> = terms.iter().map(entry).collect();
        let measured = entries.iter().any(|entry| !matches!(entry, TableEntry::Missing));
        measured.then(|| Row { label: method.clone(), role: Role::from_row(method), entries })
    };
    let rows: Vec<Row> = context.methods.iter().filter_map(row).collect();
    let note = "Euclidean norm of the gradient of each weighted term with respect to the encoder's parameters, \
                mean over some 20 steps of the training, then mean ± standard deviation [95% interval] over \
                pretraining seeds. A term with a small norm hardly moves the encoder.";
    let columns = terms.iter().map(|term| (*term).to_owned()).collect();
    vec![section.table("method", columns, rows, vec![Note::Plain(note.to_owned())])]
}

/// Share of the reconstruction in the sum of the gradient norms of a method's terms, mean over the seeds.
pub fn reconstruction_share(values: &Values, method: &str) -> Option<f64> {
    let norm = |term: &str| values.mean(method, &Quantity::encoder_gradient(term));
    let sum: f64 = values.loss_terms().into_iter().filter_map(norm).sum();
    Some(norm(RECONSTRUCTION)? / sum)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, pretrain};
    use crate::report::numbers::Numbers;

    /// Two measured points of three: means 3 and 1, so the reconstruction has a quarter.
    #[test]
    fn norms_are_means_over_the_measured_steps() {
        let mut cell = pretrain("Ours", 0, &[(1, 2.0), (2, 1.0), (3, 0.5)]);
        for (point, [invariance, reconstruction]) in [(0, [2.0, 0.5]), (2, [4.0, 1.5])] {
            let terms = [("invariance".to_owned(), invariance), (RECONSTRUCTION.to_owned(), reconstruction)];
            cell.curve[point].encoder_gradient = BTreeMap::from(terms);
        }
        let values = Values::at_end(&[cell, pretrain("VICReg", 0, &[(1, 2.0)])]);
        let context = context(&["rotation"], &["VICReg", "Ours"]);
        let section = section("encoder gradient", Group::Training);
        let found = tables(section, &values, &context).remove(0);
        assert_eq!(found.columns, ["invariance", RECONSTRUCTION]);
        assert_eq!(found.rows.len(), 1);
        assert_eq!(found.rows[0].entries[0].words(Numbers::default()), ["3.000", "(n = 1)"]);
        assert_eq!(reconstruction_share(&values, "Ours"), Some(0.25));
        assert_eq!(reconstruction_share(&values, "VICReg"), None);
    }
}
