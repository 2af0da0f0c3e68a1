//! Whether trainings are at their end: ceilings whose loss still falls, and columns that still rise.

use crate::registry::TaskFamily;
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::table::{Note, Role};
use crate::report::values::{Quantity, Values};

/// A ceiling whose loss fell by more than this share in the last third of its training is none yet.
const LOSS_FALL: f64 = 0.05;

/// An R2 that gained more than this in the last third of the training still rises.
const LATE_GAIN: f64 = 0.02;

/// A warning for each ceiling that still learns, and one for each column in which rows still rise.
pub fn warnings(values: &Values, context: &ReportContext) -> Vec<Note> {
    let ceilings = context.methods.iter().filter(|row| Role::from_row(row) == Role::Ceiling);
    let learning = ceilings.filter_map(|row| {
        let fall = values.mean(row, &Quantity::loss_fall()).filter(|fall| *fall > LOSS_FALL)?;
        Some(format!(
            "{row} still learns: its loss fell by {:.0}% in the last third of its training, so that the ceiling \
             may be too low. train.ceiling_epochs trains it longer.",
            100.0 * fall
        ))
    });
    let tasks = context.tasks.iter().filter(|task| TaskFamily::of_task(task) == TaskFamily::Transformation);
    let rising = tasks.filter_map(|task| {
        let gain = |row: &String| {
            let gain = values.mean(row, &Quantity::late_gain(task)).filter(|gain| *gain > LATE_GAIN)?;
            Some(format!("{row} (+{})", number(gain)))
        };
        let rows: Vec<String> = context.methods.iter().filter_map(gain).collect();
        let sentence =
            || format!("{task} still rose in the last third of the training: {}.", rows.join(", "));
        (!rows.is_empty()).then(sentence)
    });
    learning.chain(rising).map(Note::Warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{context, pretrain, probe, value};
    use crate::run_folder::cell::Cell;

    #[test]
    fn what_is_not_at_its_end_is_said() {
        let at = |row: &str, step: u64, r2: f64| Cell {
            step,
            last: step == 90,
            ..probe(row, 0, &[value("rotation", "r2_per_output", 0, r2)])
        };
        let cells = [
            pretrain("Direct regression", 0, &[(65, 1.0), (100, 0.8)]),
            pretrain("Ours", 0, &[(65, 1.0), (100, 0.8)]),
            at("Ours", 60, 0.40),
            at("Ours", 90, 0.46),
            at("VICReg", 60, 0.40),
            at("VICReg", 90, 0.41),
        ];
        let context = context(&["rotation", "color"], &["Ours", "VICReg", "Direct regression"]);
        let said: Vec<String> = warnings(&Values::at_end(&cells), &context)
            .into_iter()
            .map(|note| match note {
                Note::Warning(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("Direct regression still learns: its loss fell by 20%"), "{said:?}");
        assert_eq!(said[1], "rotation still rose in the last third of the training: Ours (+0.060).");
    }
}
