//! The table of an unfinished run, on the screen.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::console::{Look, say};
use crate::report::{ReportContext, scores_so_far};
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
    let look = Look { colours: false, ..Look::of_stderr() };
    if let Some(table) = scores_so_far(context.folder, &cells, std::slice::from_ref(report), look) {
        say(&format!("\n{}\n{table}", progress(context, done, planned.len())));
    }
    Ok(())
}

fn progress(context: &RunContext, done: usize, planned: usize) -> String {
    let suite = context.suite();
    let seed = context.seeds.end - suite.first_seed;
    format!("partial: seed {seed} of {}, {done} of {planned} cells", suite.seeds.max(seed))
}
