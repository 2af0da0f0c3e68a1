//! The table of an unfinished run, on the screen.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::console::{Look, say};
use crate::report::formats::TERMINAL;
use crate::report::{Report, ReportContext, Scope};
use crate::run::context::RunContext;
use crate::run_folder::cell::Cell;

/// Says how far the work on a data set is, and prints its main tables if they have a value. `planned` are the
/// ids of all its cells.
///
/// # Errors
/// Cells that cannot be read.
pub(super) fn say_partial(
    context: &RunContext,
    report: &ReportContext,
    planned: &BTreeSet<String>,
) -> Result<()> {
    let mut cells: Vec<Cell> = context.folder.whole_cells()?.0;
    cells.retain(|cell| cell.data_set == report.part);
    let done = planned.iter().filter(|id| context.folder.has_cell(id)).count();
    let without_notes = ReportContext { notes: vec![], ..report.clone() };
    let contexts = [&without_notes];
    let look = Look { colours: false, ..Look::of_stderr() };
    let scores = Report { scope: Scope::Scores, look, ..Report::new(context.folder, &cells, &contexts) };
    // without a value there is no table
    if let Ok(table) = scores.render(TERMINAL) {
        say(&format!("\n{}\n{table}", progress(context, done, planned.len())));
    }
    Ok(())
}

fn progress(context: &RunContext, done: usize, planned: usize) -> String {
    let suite = context.suite();
    let seed = context.seeds.end - suite.first_seed;
    format!("partial: seed {seed} of {}, {done} of {planned} cells", suite.seeds.max(seed))
}
