//! Whether the probes of the main table fit their pairs: columns whose probes overfit or are undertrained.

use crate::registry::{Predictor, R2Definition, R2Metric, TaskFamily};
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::table::Note;
use crate::report::values::Values;

/// An R2 on training pairs that exceeds the one on test pairs by more than this is overfitting.
const OVERFIT: f64 = 0.1;

/// A perceptron that reads less than a linear probe by more than this is undertrained.
const UNDERTRAINED: f64 = 0.02;

const TEST: R2Metric = R2Metric::PER_OUTPUT;
const TRAIN: R2Metric = R2Metric { definition: R2Definition::PerOutputTrain, ..TEST };
const LINEAR: R2Metric = R2Metric { predictor: Predictor::Linear, ..TEST };

/// The rows of a column in which one R2 exceeds another.
struct Excess<'a> {
    /// Number of these rows, and of all rows that have both values.
    rows: (usize, usize),
    /// The row with the largest excess, with both values.
    worst: (&'a str, f64, f64),
}

/// At most two warnings for each transformation: that its probe overfits, and that it is undertrained.
pub fn warnings(values: &Values, context: &ReportContext) -> Vec<Note> {
    let tasks = context.tasks.iter().filter(|task| TaskFamily::of_task(task) == TaskFamily::Transformation);
    let of_task = |task: &String| {
        let words = |what: &str, names: [&str; 2], Excess { rows, worst }: Excess| {
            let ((some, all), (row, higher, lower)) = (rows, worst);
            let (higher, lower) = (number(higher), number(lower));
            let worst = format!("{} {higher}, {} {lower} ({row})", names[0], names[1]);
            format!("the MLP probe of {task} {what} in {some} of {all} rows: at worst {worst}.")
        };
        let overfit = excess(values, context, task, (TRAIN, TEST), OVERFIT);
        let undertrained = excess(values, context, task, (LINEAR, TEST), UNDERTRAINED);
        [
            overfit.map(|excess| words("overfits", ["train", "test"], excess)),
            undertrained.map(|excess| words("is undertrained at this budget", ["linear", "MLP"], excess)),
        ]
    };
    tasks.flat_map(of_task).flatten().map(Note::Warning).collect()
}

/// The rows in which the first metric of `task` exceeds the second by more than `margin`, if there are any.
fn excess<'a>(
    values: &Values,
    context: &'a ReportContext,
    task: &str,
    (higher, lower): (R2Metric, R2Metric),
    margin: f64,
) -> Option<Excess<'a>> {
    let mean = |row: &str, metric: R2Metric| Some(values.summary(row, task, &metric.to_string())?.mean);
    let both = |row: &'a String| Some((row.as_str(), mean(row, higher)?, mean(row, lower)?));
    let all: Vec<(&str, f64, f64)> = context.methods.iter().filter_map(both).collect();
    let by = |&(_, higher, lower): &(&str, f64, f64)| higher - lower;
    let worst = *all.iter().max_by(|a, b| by(a).total_cmp(&by(b)))?;
    let some = all.iter().filter(|row| by(row) > margin).count();
    (some > 0).then_some(Excess { rows: (some, all.len()), worst })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{context, probe, value};
    use crate::run_folder::cell::Cell;

    fn cell(method: &str, task: &str, [test, train, linear]: [f64; 3]) -> Cell {
        let metrics = [
            value(task, "r2_per_output", 0, test),
            value(task, "r2_per_output_train", 0, train),
            value(task, "r2_per_output_linear", 0, linear),
        ];
        probe(method, 0, &metrics)
    }

    #[test]
    fn a_column_is_warned_of_once_with_its_worst_row() {
        let context = context(&["rotation", "color", "blur"], &["VICReg", "Ours", "Supervised"]);
        let cells = [
            cell("VICReg", "rotation", [0.20, 0.35, 0.25]),
            cell("Ours", "rotation", [0.71, 0.93, 0.70]),
            cell("Supervised", "rotation", [0.50, 0.55, 0.51]),
            cell("Ours", "color", [0.80, 0.89, 0.815]),
        ];
        let found = warnings(&Values::at_end(&cells), &context);
        let expected = [
            "the MLP probe of rotation overfits in 2 of 3 rows: at worst train 0.930, test 0.710 (Ours).",
            "the MLP probe of rotation is undertrained at this budget in 1 of 3 rows: at worst linear 0.250, MLP 0.200 (VICReg).",
        ];
        assert_eq!(found, expected.map(|text| Note::Warning(text.to_owned())));
    }
}
