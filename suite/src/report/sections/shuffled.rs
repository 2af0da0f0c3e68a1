//! Probes trained on permuted targets. An R2 above zero is an artefact of the protocol.

use super::section::Section;
use crate::registry::{R2Metric, TaskFamily};
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::Values;

/// Permuted targets hold no information. With an R2 above this limit, the protocol is not to be trusted.
const LIMIT: f64 = 0.02;

/// The worst method of a task, and its mean.
type Worst<'a> = Option<(&'a str, f64)>;

/// The largest shuffled-target R2 of every transformation and its method, with a warning if it is above the
/// limit.
pub fn tables(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let tasks: Vec<&String> = transformations(context).collect();
    let worst: Vec<Worst> = tasks.iter().map(|task| worst(values, context, task)).collect();
    let value = |worst: &Worst| worst.map_or(TableEntry::Missing, |(_, value)| TableEntry::Share(value));
    let name =
        |worst: &Worst| worst.map_or(TableEntry::Missing, |(name, _)| TableEntry::Text(name.to_owned()));
    let row = |label: &str, entries| Row { label: label.to_owned(), role: Role::Reference, entries };
    let plain = format!(
        "Per-output R2, mean over the seeds of the method where it is largest; it has to be {LIMIT} or less."
    );
    let notes = std::iter::once(Note::Plain(plain)).chain(warnings(values, context)).collect();
    let rows = vec![
        row("Shuffled targets, maximum", worst.iter().map(value).collect()),
        row("found with", worst.iter().map(name).collect()),
    ];
    vec![section.table("", tasks.iter().map(|task| format!("{task} R2")).collect(), rows, notes)]
}

/// Why probes are not to be trusted, one note per task.
pub fn warnings(values: &Values, context: &ReportContext) -> Vec<Note> {
    let warning = |task: &String| {
        let (method, value) = worst(values, context, task).filter(|(_, value)| *value > LIMIT)?;
        Some(Note::Warning(format!(
            "shuffled targets of {task} read R2 {} (> {LIMIT}) with {method}: the probe of {task} is not to be trusted.",
            number(value)
        )))
    };
    transformations(context).filter_map(warning).collect()
}

/// A note that the check is missing, if there is something to check.
pub fn missing_note(values: &Values, context: &ReportContext) -> Option<Note> {
    let missing = transformations(context).all(|task| worst(values, context, task).is_none());
    let text = "Probes on shuffled targets, the sanity check of the R2 columns, are not measured.";
    (missing && transformations(context).next().is_some()).then(|| Note::Plain(text.to_owned()))
}

fn transformations(context: &ReportContext) -> impl Iterator<Item = &String> {
    context.tasks.iter().filter(|task| TaskFamily::of_task(task) == TaskFamily::Transformation)
}

fn worst<'a>(values: &Values, context: &'a ReportContext, task: &str) -> Worst<'a> {
    let mean = |method: &'a String| {
        let summary = values.summary(method, task, &R2Metric::SHUFFLED.to_string())?;
        Some((method.as_str(), summary.mean))
    };
    context.methods.iter().filter_map(mean).max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::report::numbers::Numbers;

    #[test]
    fn a_probe_that_learns_from_nothing_is_warned_of() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let shuffled = |task, r2| value(task, "r2_per_output_shuffled", 0, r2);
        let cells = [
            probe("Ours", 0, &[shuffled("rotation", -0.01), shuffled("color", -0.02)]),
            probe("VICReg", 0, &[shuffled("rotation", 0.05), shuffled("color", -0.03)]),
        ];
        let found = tables(section("shuffled", Group::Training), &Values::at_end(&cells), &context).remove(0);
        assert_eq!(found.rows[0].entries[1].words(Numbers::default()), ["-0.020"]);
        assert_eq!(found.rows[1].entries[0].words(Numbers::default()), ["VICReg"]);
        let warnings: Vec<_> = found.notes.iter().filter(|note| matches!(note, Note::Warning(_))).collect();
        assert_eq!(warnings.len(), 1);
        assert!(
            matches!(warnings[0], Note::Warning(text) if text.contains("rotation read R2 0.050 (> 0.02) with VICReg"))
        );
    }
}
