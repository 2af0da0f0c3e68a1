//! How a run stands, as text: its state, its tables so far, its loss curves.

use ::console::{measure_text_width, truncate_str};
use anyhow::Result;

use super::curves::{Curve, Logged, finished};
use super::sparkline::sparkline;
use crate::console::{Look, one_line};
use crate::report::{scores_so_far, stored_contexts};
use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::run_folder::onlooker::Work;

/// Letters per line where there is no window.
const WIDTH: usize = 100;

/// The longest sparkline.
const LONGEST: usize = 60;

/// The run as it stands.
///
/// # Errors
/// A folder that holds no run.
pub fn picture(folder: &RunFolder, work: &Work, look: Look) -> Result<String> {
    let logged = Logged::read(folder)?;
    let is_prepared = folder.path(layout::REPORT).is_file();
    let contexts = match work {
        Work::GoesOn(_) if !is_prepared => Vec::new(),
        _ => stored_contexts(folder)?,
    };
    let cells: Vec<Cell> = if is_prepared { folder.whole_cells()?.0 } else { Vec::new() };
    let mut lines = vec![state(folder, work), progress(&cells, &logged)];
    lines.extend(failures(folder));
    let mut text = fitted(&lines, look);
    if let Some(table) = scores_so_far(folder, &cells, &contexts, look) {
        text += &format!("\n{table}");
    }
    for (heading, curves) in
        [("Loss so far", logged.unfinished(folder)), ("Loss of finished trainings", finished(&cells))]
    {
        if !curves.is_empty() {
            text += &format!("\n{heading}\n{}", fitted(&drawn(&curves, look), look));
        }
    }
    Ok(text)
}

fn state(folder: &RunFolder, work: &Work) -> String {
    let shown = folder.root().display();
    match work {
        Work::GoesOn(owner) => format!("{shown}: {owner} works on it"),
        Work::IsFinished => format!("{shown}: finished"),
        Work::HasStopped => format!("{shown}: stopped; `eqr-bench run` with the same options goes on"),
    }
}

fn progress(cells: &[Cell], logged: &Logged) -> String {
    let planned = logged.planned().map(|planned| format!(" of {planned}")).unwrap_or_default();
    format!("cells finished: {}{planned}", cells.len())
}

/// A line about cells that failed, if there are any.
fn failures(folder: &RunFolder) -> Option<String> {
    let reports = std::fs::read_dir(folder.path(layout::FAILED)).into_iter().flatten().flatten();
    let mut names: Vec<String> = reports
        .filter_map(|file| file.path().file_stem().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    (!names.is_empty()).then(|| format!("failed: {}", names.join(", ")))
}

/// One line for each curve: its name, a sparkline, its first and last loss, its step.
fn drawn(curves: &[Curve], look: Look) -> Vec<String> {
    let width = look.width.unwrap_or(WIDTH);
    let names: Vec<String> = curves.iter().map(|curve| one_line(&curve.name).into_owned()).collect();
    let longest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0).min(width / 3);
    let numbers: Vec<String> = curves.iter().map(|curve| numbers(curve, width)).collect();
    let widest = numbers.iter().map(String::len).max().unwrap_or(0);
    let room = width.saturating_sub(longest + widest + 4).clamp(1, LONGEST);
    let line = |((curve, name), numbers): ((&Curve, &String), &String)| {
        let name = truncate_str(name, longest, "~");
        format!("{name:longest$}  {:room$}  {numbers}", sparkline(&curve.losses, room, look))
    };
    curves.iter().zip(&names).zip(&numbers).map(line).collect()
}

fn numbers(curve: &Curve, width: usize) -> String {
    let [first, last] =
        [curve.losses.first(), curve.losses.last()].map(|loss| loss.copied().unwrap_or(f64::NAN));
    let step = if width < 60 { String::new() } else { format!(", step {}", curve.step) };
    format!("{first:.3} to {last:.3}{step}")
}

/// Lines that are cut where the window ends.
fn fitted(lines: &[String], look: Look) -> String {
    let fit = |line: &String| {
        let line = one_line(line);
        let line = look.letters(&line);
        match look.width {
            Some(width) => truncate_str(&line, width, "~").into_owned() + "\n",
            None => format!("{line}\n"),
        }
    };
    lines.iter().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_fit_every_window() {
        let curve = |name: &str, count: usize| Curve {
            name: name.to_owned(),
            step: 1200,
            losses: (0..count).map(|step| 1.0 / (1.0 + step as f64)).collect(),
        };
        let curves = [curve("ours-seed0", 200), curve("tiny-imagenet-sie-all-single-each-time-seed12", 3)];
        for width in [40, 60, 80, 120, 200] {
            let look = Look { width: Some(width), ..Look::default() };
            let text = fitted(&drawn(&curves, look), look);
            let widths: Vec<usize> = text.lines().map(measure_text_width).collect();
            assert!(
                widths.iter().all(|&line| line <= width && line > width / 2),
                "{width}: {widths:?}\n{text}"
            );
            assert!(text.contains('█') && text.contains("1.000 to 0.005"), "{text}");
        }
    }
}
