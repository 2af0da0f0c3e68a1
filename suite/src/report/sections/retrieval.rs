//! SIE's measures of its predictor: is the predicted view of an object the nearest among its views?

use super::section::Section;
use crate::registry::{MRR, Measure, ON_TRAINING_OBJECTS, shown_in};
use crate::report::column::{self, Column};
use crate::report::context::ReportContext;
use crate::report::table::{Note, Table};
use crate::report::values::{Quantity, Values};

/// For each split: its name in the title, the suffix of its metrics, and the prefix of its headings.
const SPLITS: [(&str, &str, &str); 2] =
    [("test objects", "", ""), ("training objects", ON_TRAINING_OBJECTS, "train")];

/// One table per split, with the methods that have a predictor.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    SPLITS.iter().map(|split| table(section, values, context, *split)).collect()
}

fn table(
    section: &Section,
    values: &Values,
    context: &ReportContext,
    (objects, suffix, before): (&str, &str, &str),
) -> Table {
    let quantity =
        |measure: &Measure| Quantity::probed(measure.family.name(), &format!("{}{suffix}", measure.metric));
    let predicts = |method: &&String| values.sample(method, &quantity(&MRR)).is_some();
    let methods: Vec<String> = context.methods.iter().filter(predicts).cloned().collect();
    let column = |measure: &Measure| {
        let sample = |method: &str| values.sample(method, &quantity(measure)).cloned();
        Column { better: measure.better, ..Column::new(before, measure.heading, &methods, sample) }
    };
    let columns: Vec<Column> = shown_in(section.name).map(column).collect();
    let note = "The equivariant embedding of an object's first view, carried by the predictor to each of its other views, \
                and the views ranked by cosine similarity to it, the first among them. MRR: mean of 1 / rank of the view \
                meant; H@k: share of ranks up to k, which is 1 for objects of k views; PRE: mean of 1 - (q . p)^2 of the \
                poses of the view meant and of the nearest, less is better.";
    let notes = [
        Some(Note::Plain(note.to_owned())),
        Some(column::reading_note(&columns, None)),
        column::single_note(&columns),
    ];
    let headings = columns.iter().map(Column::heading).collect();
    let table =
        section.table("method", headings, column::rows(&columns), notes.into_iter().flatten().collect());
    Table { title: format!("{}, {objects}", section.title), ..table }
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::table::Mark;

    #[test]
    fn only_predictors_have_a_row_and_less_error_is_better() {
        let context = context(&["rotation"], &["Ours", "SIE(rot)", "SIE(rot+color)"]);
        let cell = |method, seed, mrr, pre| {
            probe(method, seed, &[value("retrieval", "mrr", 0, mrr), value("retrieval", "pre", 0, pre)])
        };
        let cells: Vec<_> = (0..3)
            .flat_map(|seed| {
                [
                    probe("Ours", seed, &[value("rotation", "r2_per_output", 0, 0.5)]),
                    cell("SIE(rot)", seed, 0.6, 0.2),
                    cell("SIE(rot+color)", seed, 0.5, 0.1),
                ]
            })
            .collect();
        let [test, train] =
            &tables(section("retrieval", Group::Training), &Values::at_end(&cells), &context)[..]
        else {
            panic!("two splits")
        };
        let labels: Vec<&str> = test.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["SIE(rot)", "SIE(rot+color)"]);
        assert_eq!(test.columns, ["MRR", "H@1", "H@2", "H@5", "H@10", "PRE"]);
        let marks = |row: usize| [0, 5].map(|column| test.rows[row].entries[column].mark());
        assert_eq!([marks(0), marks(1)], [[Mark::Best, Mark::Second], [Mark::Second, Mark::Best]]);
        assert!(!train.has_values());
    }
}
