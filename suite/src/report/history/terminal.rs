//! The weeks of a series for the terminal.

use std::fmt::Write;

use crate::console::one_line;
use crate::report::history::sparkline::sparkline;
use crate::report::history::{History, Kind, Line, Point, Run, Verdict};

/// A row of blocks for every line, with its first and its last value and what the drift alarm says of the
/// last one; then the first run of every drift, and the changes.
pub fn text(history: &History) -> String {
    let runs = &history.runs;
    let mut text = format!("{} runs, from {} to {}\n", runs.len(), named(runs.first()), named(runs.last()));
    for kind in Kind::ALL {
        for line in history.lines.iter().filter(|line| line.kind == kind) {
            let _ = writeln!(text, "{}", row(history, line));
        }
    }
    for line in &history.lines {
        for run in alarms(line) {
            let _ = writeln!(text, "{}: drift of {}", one_line(&runs[run].name), one_line(&line.name));
        }
    }
    for run in runs {
        let name = one_line(&run.name);
        if run.new_definition {
            let _ = writeln!(text, "{name}: another definition, a new series of all values");
        } else if run.new_hardware {
            let _ = writeln!(text, "{name}: other hardware, a new series of speeds and energies");
        }
    }
    text
}

/// The runs at which a drift is seen first.
fn alarms(line: &Line) -> impl Iterator<Item = usize> + '_ {
    let before = std::iter::once(Verdict::Ok).chain(line.points.iter().map(|point| point.verdict));
    let begins =
        |(before, point): (Verdict, &Point)| before != Verdict::Drift && point.verdict == Verdict::Drift;
    before.zip(&line.points).filter(move |&pair| begins(pair)).map(|(_, point)| point.run)
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
