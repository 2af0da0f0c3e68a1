//! What the representations are like, measured without a probe.

use super::ReportContext;
use super::table::{Mark, Note, Role, Row, Section, Table, TableEntry};
use super::values::{Quantity, Values};

const COLUMNS: [(&str, &str); 4] = [
    ("similarity_own", "similarity of the two views"),
    ("similarity_others", "of different images"),
    ("invariance", "invariance"),
    ("effective_rank", "effective rank"),
];

/// One row a method; nothing is better or worse.
pub fn table(values: &Values, context: &ReportContext) -> Table {
    let entry = |method: &str, metric: &str| {
        let sample = values.sample(method, &Quantity::probed("representation", metric));
        sample.map_or(TableEntry::Missing, |sample| TableEntry::estimate(sample.values(), Mark::None, false))
    };
    let row = |method: &String| Row {
        label: method.clone(),
        role: Role::of(method),
        entries: COLUMNS.iter().map(|(metric, _)| entry(method, metric)).collect(),
    };
    let note = "Mean cosine similarity of y between the two views of a test image, and between views of different images; invariance: the first \
                less the second, as a part of what it could be at most. Effective rank: exponential of the entropy of y's singular values. None \
                of them says how good a representation is.";
    Table {
        section: Section::Geometry,
        title: "What y is like, without a probe".to_owned(),
        stub: "method",
        columns: COLUMNS.iter().map(|(_, heading)| (*heading).to_owned()).collect(),
        rows: context.methods.iter().map(row).collect(),
        notes: vec![Note::Plain(note.to_owned())],
    }
}
