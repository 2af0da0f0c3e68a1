//! Properties of the representations that need no probe.

use super::section::Section;
use crate::registry::{Measure, shown_in};
use crate::report::context::ReportContext;
use crate::report::numbers::Unit;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Values};

/// One row per method. No value is better or worse than another.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let entry = |method: &str, measure: &Measure| {
        let sample = values.sample(method, &Quantity::probed(measure.family.name(), measure.metric));
        sample.map_or(TableEntry::Missing, |sample| {
            TableEntry::estimate(sample.values(), Mark::None, false, Unit::Other)
        })
    };
    let row = |method: &String| Row {
        label: method.clone(),
        role: Role::from_row(method),
        entries: shown_in(section.name).map(|measure| entry(method, measure)).collect(),
    };
    let note = "Mean cosine similarity of y between the two views of a test image, and between views of different images; \
                invariance: the first less the second, as a part of what it could be at most. Effective rank: exponential \
                of the entropy of y's singular values. None of them says how good a representation is.";
    let headings = shown_in(section.name).map(|measure| measure.heading.to_owned()).collect();
    let rows = context.methods.iter().map(row).collect();
    vec![section.table("method", headings, rows, vec![Note::Plain(note.to_owned())])]
}
