//! What a run makes sure of before and after its work: its cells are those that it wrote, and none is
//! missing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::console::say;
use crate::failure::Outcome;
use crate::run::context::RunContext;
use crate::run::measurements::{MeasuredRow, possible};
use crate::run::outcome::FailedMeasurement;
use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, manifest};
use crate::suite_file::plan::EncoderRun;

/// Removes what a killed call left half-written, and sets damaged cells aside, so that they are made anew.
///
/// # Errors
/// A file system error.
pub(super) fn tidy(folder: &RunFolder) -> Result<()> {
    folder.remove_temporaries()?;
    for problem in folder.set_damaged_cells_aside()? {
        say(&format!("warning: {}; it is made anew", problem.text));
    }
    Ok(())
}

/// Ids of the cells that the work on the current seeds of `context` must have finished.
pub(super) fn planned(
    context: &RunContext,
    diverged: &[EncoderRun],
    failed: &[FailedMeasurement],
) -> Outcome<BTreeSet<String>> {
    let trainings = context.encoder_runs()?.into_iter();
    let trainings = trainings.filter(|run| run.row.kind.trains() && !diverged.contains(run));
    let mut ids: BTreeSet<String> = trainings.map(|run| run.pretrain_id()).collect();
    let of_diverged = |row: &MeasuredRow| matches!(row, MeasuredRow::Trained(run) if diverged.contains(run));
    let measurements = possible(context)?.into_iter().filter(|measurement| !of_diverged(&measurement.row));
    ids.extend(measurements.map(|measurement| measurement.id));
    ids.retain(|id| failed.iter().all(|failed| failed.cell != *id));
    Ok(ids)
}

/// Whether a cell of the current seeds of `context` is not there yet.
pub(super) fn lacks_cells(context: &RunContext) -> Outcome<bool> {
    let ids = planned(context, &[], &[])?;
    Ok(ids.iter().any(|id| !context.folder.has_cell(id)))
}

/// All cells of the folder, of which every planned one is there as it was written. The folder is still the
/// run.
///
/// # Errors
/// A manifest or cells that are gone or damaged.
pub(super) fn complete_cells(folder: &RunFolder, planned: &BTreeSet<String>) -> Result<Vec<Cell>> {
    let shown = folder.root().display();
    let again = "hint: run again with the same options, which makes what is missing anew";
    manifest::read(folder)?.with_context(|| {
        format!("{shown}: {} is gone since the start of this call\n{again}", layout::MANIFEST)
    })?;
    let (cells, problems) = folder.whole_cells()?;
    let whole: BTreeSet<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
    let missing = planned.iter().filter(|id| !whole.contains(id.as_str()));
    let lines: Vec<String> = missing
        .map(|id| {
            let path = folder.path(layout::cell(id));
            let problem = problems.iter().find(|problem| problem.path == path);
            problem.map_or_else(|| format!("{} is gone", path.display()), |problem| problem.text.clone())
        })
        .collect();
    ensure!(
        lines.is_empty(),
        "{shown}: {} cells are not as this run wrote them; no report is written\n{}\n{again}",
        lines.len(),
        lines.join("\n")
    );
    problems.first().map_or(Ok(cells), |problem| Err(problem.refusal()))
}
