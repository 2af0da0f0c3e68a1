//! The report of a run: its contexts at the start; its files, tables on stdout and timings at the end.

use std::time::Instant;

use anyhow::Result;
use eqr_datasets::Pack;
use eqr_models::Compute;
use serde_json::json;

use crate::cluster::worker::Worker;
use crate::console::{Look, say};
use crate::failure::{Failure, Outcome};
use crate::registry::TaskFamily;
use crate::report::{self, Report, ReportContext, Scope, TransferColumn};
use crate::run::prepare::Prepared;
use crate::run_folder::atomic_file::{remove_file, write_atomic};
use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::run_folder::manifest;
use crate::suite_file::downstream_sets::TransferSet;
use crate::suite_file::plan::rows;
use crate::suite_file::tasks::tasks;

/// Duration of each phase of one call, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    pub(super) data: f64,
    pub(super) training: f64,
    pub(super) probes: f64,
}

impl Phases {
    /// Writes and says the durations of a run that has done all its work.
    ///
    /// # Errors
    /// A file system error.
    pub(super) fn write(self, folder: &RunFolder) -> Result<()> {
        let Phases { data, training, probes } = self;
        let line = json!({"phase_seconds": {"data": data, "training": training, "probes": probes}});
        folder.log(&line)?;
        let text = serde_json::to_string_pretty(&line["phase_seconds"])?;
        write_atomic(&folder.path(layout::TIMING), text.as_bytes())?;
        say(&format!("data {data:.1} s, training {training:.1} s, probes {probes:.1} s"));
        Ok(())
    }
}

/// Does `work` and adds its duration to `seconds`.
pub(super) fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *seconds += start.elapsed().as_secs_f64();
    result
}

/// Makes and writes the contexts of the report. They are written at the start, so that `report` works on a
/// half-finished run.
pub(super) fn begin(
    prepared: &[Prepared],
    folder: &RunFolder,
    compute: Compute,
    worker: &Worker,
) -> Outcome<Vec<ReportContext>> {
    let precision = compute.name();
    let contexts: Vec<ReportContext> =
        prepared.iter().map(|prepared| report_context(prepared, precision)).collect();
    if worker.leads() {
        // the file that says that a run is finished
        remove_file(&folder.path(layout::TIMING)).map_err(Failure::run)?;
        report::write_contexts(folder, &contexts).map_err(Failure::run)?;
    }
    Ok(contexts)
}

fn report_context(prepared: &Prepared, precision: &str) -> ReportContext {
    let suite = &prepared.sub_suite.suite;
    let tasks = tasks(prepared.data.pack.kind, &suite.transforms).into_iter().map(|task| task.name);
    let methods = rows(suite).expect("loading checked the names").into_iter().map(|row| row.to_string());
    let column = |(set, pack): (&TransferSet, &Pack)| TransferColumn {
        dataset: pack.name.clone(),
        metric: set.metric.name().to_owned(),
    };
    ReportContext {
        part: prepared.sub_suite.key.clone(),
        suite: suite.name.clone(),
        title: suite.title.clone(),
        scale: suite.scale,
        table: suite.table,
        tasks: [TaskFamily::Classification.name().to_owned()].into_iter().chain(tasks).collect(),
        methods: methods.chain(suite.rows.iter().map(|row| row.name.clone())).collect(),
        compare: suite.compare.clone(),
        looks: prepared.looks,
        claims: suite.claims.clone(),
        transfers: suite.transfer.iter().zip(&prepared.downstream.transfer).map(column).collect(),
        segmentations: prepared.downstream.segmentation.iter().map(|pack| pack.name.clone()).collect(),
        notes: suite.notes.clone(),
        protocol: report::choices(&json!(suite), prepared.looks, precision),
    }
}

/// Writes the report of the finished run with these cells.
///
/// # Errors
/// No cell; a file system error.
pub(super) fn write(folder: &RunFolder, cells: &[Cell], contexts: &[ReportContext]) -> Result<()> {
    manifest::record_cells(folder, cells)?;
    report::write(folder, cells, contexts)
}

/// Prints the tables of the finished run with these cells.
///
/// # Errors
/// An output that cannot be written to.
pub(super) fn print(folder: &RunFolder, cells: &[Cell], contexts: &[ReportContext]) -> Result<()> {
    let contexts: Vec<&ReportContext> = contexts.iter().collect();
    let look = Look::of_stdout();
    let report = Report { scope: Scope::Headline, look, ..Report::new(folder, cells, &contexts) };
    report.print(report::formats::TERMINAL)?;
    for context in &contexts {
        let cells = report::cells_of(cells, context);
        report::reading::sentences(&cells, context).iter().for_each(|sentence| say(sentence));
    }
    say(&report::where_all_is(folder));
    Ok(())
}
