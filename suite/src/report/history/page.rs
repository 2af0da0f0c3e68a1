//! The weeks of a series as one page that needs no network.

use eqr_datasets::output::OutputKind;
use maud::{Markup, html};

use crate::report::history::sparkline::range;
use crate::report::history::{History, Kind, Line, Point, Verdict};
use crate::report::page_shell;

/// Pages of histories among the files that may be replaced.
pub const PAGE: OutputKind =
    OutputKind { name: "a page of a history", begins: |start| start.starts_with(b"<!DOCTYPE html>") };

// Size of a drawing, in units of its own.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 120.0;

/// Room around the points.
const MARGIN: f64 = 14.0;

/// Room on their left, for the numbers.
const LEFT: f64 = 52.0;

/// The page of the series called `name`.
pub fn page(history: &History, name: &str) -> String {
    let title = format!("History of {name}");
    let body = html! {
        header {
            h1 { (title) }
            p.meta { (history.runs.len()) " runs; the last one is " (last_run(history)) "." }
            p.meta {
                "Every point is the mean of a run; higher is better, but for energy. A filled red point is an \
                 alarm of drift, a filled blue one is better than the runs before it explain. What is on the two \
                 sides of a dashed line has another definition and is not compared. A dotted line is other \
                 hardware, on which speeds and energies are not compared with those before."
            }
        }
        main {
            @for kind in Kind::ALL {
                @let lines: Vec<&Line> = history.lines.iter().filter(|line| line.kind == kind).collect();
                @if !lines.is_empty() {
                    h2 { (kind.heading()) }
                    div.bars { @for line in lines { (figure(history, line)) } }
                }
            }
            h2 { "Runs" }
            (runs(history))
        }
        footer { "eqr-bench " (env!("CARGO_PKG_VERSION")) }
    };
    page_shell(&title, &body).into_string()
}

fn last_run(history: &History) -> &str {
    history.runs.last().map_or("", |run| run.name.as_str())
}

/// A line with its points; resting the pointer on one says its run and value.
fn figure(history: &History, line: &Line) -> Markup {
    let (low, high) = range(line);
    let last = line.points.last().map_or(f64::NAN, |point| point.value);
    html! {
        figure {
            figcaption { (line.name) " " small { (format!("{last:.4}")) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(line.name) {
                @for (run, dashes) in changes(history) {
                    @let x = x(history, run) - step(history) / 2.0;
                    line x1=(x) x2=(x) y1="0" y2=(HEIGHT) stroke="currentColor" stroke-opacity=".5"
                        stroke-dasharray=(dashes) {}
                }
                polyline fill="none" stroke="currentColor" stroke-opacity=".45"
                    points=(line.points.iter().map(|point| place(history, (low, high), point)).collect::<String>()) {}
                @for point in &line.points {
                    @let y = y((low, high), point.value);
                    circle cx=(x(history, point.run)) cy=(y) r=(radius(point)) fill=(colour(point)) {
                        title { (history.runs[point.run].name) ": " (format!("{:.4}", point.value)) (word(point)) }
                    }
                }
                text.soft x="0" y="11" { (format!("{high:.4}")) }
                text.soft x="0" y=(HEIGHT - 2.0) { (format!("{low:.4}")) }
            }
        }
    }
}

/// The runs that begin a new series, with the dashes of their lines.
fn changes(history: &History) -> Vec<(usize, &'static str)> {
    let dashes = |(place, run): (usize, &super::Run)| match (run.new_definition, run.new_hardware) {
        (true, _) => Some((place, "6 3")),
        (false, true) => Some((place, "1.5 3")),
        (false, false) => None,
    };
    history.runs.iter().enumerate().filter_map(dashes).collect()
}

fn step(history: &History) -> f64 {
    (WIDTH - LEFT - MARGIN) / (history.runs.len().max(2) - 1) as f64
}

fn x(history: &History, run: usize) -> f64 {
    LEFT + step(history) * run as f64
}

fn y((low, high): (f64, f64), value: f64) -> f64 {
    let share = if high > low { (value - low) / (high - low) } else { 0.5 };
    HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN)
}

fn place(history: &History, range: (f64, f64), point: &Point) -> String {
    format!("{:.1},{:.1} ", x(history, point.run), y(range, point.value))
}

fn radius(point: &Point) -> f64 {
    if point.verdict == Verdict::Ok { 2.0 } else { 4.0 }
}

fn colour(point: &Point) -> &'static str {
    match point.verdict {
        Verdict::Ok => "currentColor",
        Verdict::Drift => "#d43d2a",
        Verdict::Better => "#2a7fd4",
    }
}

fn word(point: &Point) -> &'static str {
    match point.verdict {
        Verdict::Ok => "",
        Verdict::Drift => ", drift",
        Verdict::Better => ", better than before",
    }
}

fn runs(history: &History) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th { "run" } th { "started" } th.text { "change" } } }
                tbody {
                    @for run in history.runs.iter().rev() {
                        tr {
                            th scope="row" { (run.name) }
                            td { (run.started) }
                            td.text {
                                @if run.new_definition { "another definition: a new series of all values" }
                                @else if run.new_hardware { "other hardware: a new series of speeds" }
                            }
                        }
                    }
                }
            }
        }
    }
}
