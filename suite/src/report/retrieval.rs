//! SIE's measures of its predictor: among the views of an object, is the predicted one the nearest?

use super::ReportContext;
use super::column::{self, Column};
use super::table::{Note, Section, Table};
use super::values::{Quantity, Values};

/// Metric, heading, and whether less of it is better.
const COLUMNS: [(&str, &str, bool); 6] = [
    ("mrr", "MRR", false),
    ("hits_1", "H@1", false),
    ("hits_2", "H@2", false),
    ("hits_5", "H@5", false),
    ("hits_10", "H@10", false),
    ("pre", "PRE", true),
];

/// Split in the title, suffix of its metrics, and what stands before its headings.
const SPLITS: [(&str, &str, &str); 2] = [("test objects", "", ""), ("training objects", "_train", "train")];

/// A table a split, of the methods that have a predictor.
pub fn tables(values: &Values, context: &ReportContext) -> Vec<Table> {
    SPLITS.iter().map(|split| table(values, context, *split)).collect()
}

fn table(values: &Values, context: &ReportContext, (objects, suffix, before): (&str, &str, &str)) -> Table {
    let quantity = |metric: &str| Quantity::probed("retrieval", &format!("{metric}{suffix}"));
    let predicts = |method: &&String| values.sample(method, &quantity("mrr")).is_some();
    let methods: Vec<String> = context.methods.iter().filter(predicts).cloned().collect();
    let column = |(metric, heading, lower_is_better): &(&str, &str, bool)| Column {
        lower_is_better: *lower_is_better,
        ..Column::new(before, heading, &methods, |method| values.sample(method, &quantity(metric)).cloned())
    };
    let columns = COLUMNS.each_ref().map(column);
    let note = "The equivariant embedding of an object's first view, carried by the predictor to each of its other views, and the views \
                ranked by cosine similarity to it, the first among them. MRR: mean of 1 / rank of the view meant; H@k: share of ranks up to \
                k, which is 1 for objects of k views; PRE: mean of 1 - (q . p)^2 of the poses of the view meant and of the nearest, less is \
                better.";
    let notes = [
        Some(Note::Plain(note.to_owned())),
        Some(column::reading_note(&columns, None)),
        column::single_note(&columns),
    ];
    Table {
        section: Section::Retrieval,
        title: format!("Retrieval by the predictor, {objects}"),
        stub: "method",
        columns: columns.iter().map(Column::heading).collect(),
        rows: column::rows(&columns),
        notes: notes.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::super::table::Mark;
    use super::*;

    #[test]
    fn only_predictors_have_a_row_and_less_error_is_better() {
        let context = context(&["rotation"], &["Ours", "SIE(rot)", "SIE(rot+color)"]);
        let cell = |method, seed, mrr, pre| {
            probe(method, seed, &[value("retrieval", "mrr", 0, mrr), value("retrieval", "pre", 0, pre)])
        };
        let cells = [
            probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.5)]),
            cell("SIE(rot)", 0, 0.6, 0.2),
            cell("SIE(rot+color)", 0, 0.5, 0.1),
        ];
        let [test, train] = &tables(&Values::of(&cells), &context)[..] else { panic!("two splits") };
        let labels: Vec<&str> = test.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["SIE(rot)", "SIE(rot+color)"]);
        assert_eq!(test.columns, ["MRR", "H@1", "H@2", "H@5", "H@10", "PRE"]);
        let marks = |row: usize| [0, 5].map(|column| test.rows[row].entries[column].mark());
        assert_eq!([marks(0), marks(1)], [[Mark::Best, Mark::Second], [Mark::Second, Mark::Best]]);
        assert!(!train.has_values());
    }
}
