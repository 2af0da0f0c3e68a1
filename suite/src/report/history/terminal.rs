//! The weeks of a series for the terminal.

use std::fmt::Write;

use crate::console::one_line;
use crate::report::history::sparkline::sparkline;
use crate::report::history::{History, Kind, Line, Run, Verdict};

/// A row of blocks for every line, with its first and its last value and what the drift alarm says of the last
/// one; then the changes.
pub fn text(history: &History) -> String {
    let runs = &history.runs;
    let mut text = format!("{} runs, from {} to {}\n", runs.len(), named(runs.first()), named(runs.last()));
    for kind in [Kind::Quality, Kind::Speed] {
        for line in history.lines.iter().filter(|line| line.kind == kind) {
            let _ = writeln!(text, "{}", row(history, line));
        }
    }
    for run in runs {
        let name = one_line(&run.name);
        if run.new_definition {
            let _ = writeln!(text, "{name}: another definition, a new series of all values");
        } else if run.new_hardware {
            let _ = writeln!(text, "{name}: other hardware, a new series of speeds");
        }
    }
    text
}

fn row(history: &History, line: &Line) -> String {
    let [first, last] =
        [line.points.first(), line.points.last()].map(|point| point.map_or(f64::NAN, |p| p.value));
    let verdict = match line.points.last().map(|point| point.verdict) {
        Some(Verdict::Drift) => ", drift",
        Some(Verdict::Better) => ", better than before: is it right?",
        Some(Verdict::Ok) | None => "",
    };
    let name = one_line(&line.name);
    format!("  {}  {first:.4} -> {last:.4}{verdict}  {name}", sparkline(history, line))
}

fn named(run: Option<&Run>) -> String {
    run.map_or_else(String::new, |run| one_line(&run.name).into_owned())
}
