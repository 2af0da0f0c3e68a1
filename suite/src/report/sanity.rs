//! Probes trained on permuted targets: what they read above zero, the protocol makes up.

use super::ReportContext;
use super::scores::Measure;
use super::table::{Note, Role, Row, Section, Table, TableEntry, number};
use super::values::Values;

/// Above this a probe has learnt from targets that say nothing.
const LIMIT: f64 = 0.02;

/// The largest shuffled-target R2 of every task, and whose it is; with a warning where it is above the limit.
pub fn table(values: &Values, context: &ReportContext) -> Table {
    let tasks: Vec<&String> = context.tasks.iter().filter(|task| Measure::of(task) == Measure::R2).collect();
    let worst: Vec<_> = tasks.iter().map(|task| worst(values, context, task)).collect();
    let value = |worst: &Option<(&str, f64)>| {
        worst.map_or(TableEntry::Missing, |(_, value)| TableEntry::Number(value))
    };
    let name = |worst: &Option<(&str, f64)>| {
        worst.map_or(TableEntry::Missing, |(name, _)| TableEntry::Text(name.to_owned()))
    };
    let row = |label: &str, entries| Row { label: label.to_owned(), role: Role::Reference, entries };
    let plain = format!(
        "Per-output R2, mean over the seeds of the method where it is largest; it has to be {LIMIT} or less."
    );
    let mut notes = vec![Note::Plain(plain)];
    notes.extend(tasks.iter().zip(&worst).filter_map(|(task, worst)| warning(task, (*worst)?)));
    Table {
        section: Section::Shuffled,
        title: "Sanity: probes trained on shuffled targets, tested on intact ones".to_owned(),
        stub: "",
        columns: tasks.iter().map(|task| format!("{task} R2")).collect(),
        rows: vec![
            row("Shuffled targets, maximum", worst.iter().map(value).collect()),
            row("found with", worst.iter().map(name).collect()),
        ],
        notes,
    }
}

fn worst<'a>(values: &Values, context: &'a ReportContext, task: &str) -> Option<(&'a str, f64)> {
    let mean = |method: &'a String| {
        let summary = values.summary(method, task, "r2_per_output_shuffled")?;
        Some((method.as_str(), summary.mean))
    };
    context.methods.iter().filter_map(mean).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn warning(task: &str, (method, value): (&str, f64)) -> Option<Note> {
    (value > LIMIT).then(|| {
        Note::Warning(format!(
            "shuffled targets of {task} read R2 {} (> {LIMIT}) with {method}: the probe of {task} is not to be trusted.",
            number(value)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::*;

    #[test]
    fn a_probe_that_learns_from_nothing_is_warned_of() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let shuffled = |task, r2| value(task, "r2_per_output_shuffled", 0, r2);
        let cells = [
            probe("Ours", 0, &[shuffled("rotation", -0.01), shuffled("color", -0.02)]),
            probe("VICReg", 0, &[shuffled("rotation", 0.05), shuffled("color", -0.03)]),
        ];
        let found = table(&Values::of(&cells), &context);
        assert_eq!(found.rows[0].entries[1].parts(), ["-0.020"]);
        assert_eq!(found.rows[1].entries[0].parts(), ["VICReg"]);
        let warnings: Vec<_> = found.notes.iter().filter(|note| matches!(note, Note::Warning(_))).collect();
        assert_eq!(warnings.len(), 1);
        assert!(
            matches!(warnings[0], Note::Warning(text) if text.contains("rotation read R2 0.050 (> 0.02) with VICReg"))
        );
    }
}
