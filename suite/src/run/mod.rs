//! `eqr-bench run`: pretrains and measures what is missing, then writes the report.

mod checks;
mod context;
mod cost;
mod data_set;
mod data_set_size;
mod dealing;
mod device_rates;
mod dry_run;
mod encoders;
mod external_files;
mod floors;
mod integrity;
mod last_encoder;
mod looks;
mod measure_cells;
mod measurements;
mod order;
mod outcome;
mod partial_table;
mod prepare;
mod pretrain_cells;
mod probe_cell;
mod reporting;
mod request;
mod reuse;
mod segment_cell;
mod shared_work;
mod stages;
mod transfer_cell;
mod xray_cell;

use anyhow::Result;
use eqr_models::Collective;

use crate::cluster::agreement::{agree, from_leader};
use crate::cluster::precision::Choice;
use crate::cluster::stop_file::{NoStopFile, StopFile};
use crate::cluster::stop_signal;
use crate::cluster::worker::Worker;
use crate::failure::{Failure, Outcome};
use crate::run::context::{CellOptions, RunContext};
use crate::run::data_set::{Cells, DataSetRun};
pub use crate::run::device_rates::DeviceName;
use crate::run::prepare::{Prepared, on_leader};
use crate::run::reporting::{Phases, timed};
pub use crate::run::request::{RunRequest, RunScope};
pub use crate::run::shared_work::run_shared;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::run_folder::lock::RunLock;
use crate::suite_file::data_sets::{self, SubSuite};

/// Runs the suite, one data set after the other.
///
/// # Errors
/// Bad input (2), found on every rank before the first cell; a failed run (3); a stop request (75).
pub fn run(request: &RunRequest, ranks: &dyn Collective) -> Outcome<()> {
    let Checked { sub_suites, worker, ranks_per_cell, precision, refusals } = check(request, ranks)?;
    let (folder, compute) = (RunFolder::new(&request.out), precision.compute);
    if let Some(device) = request.dry_run {
        let described = on_leader(&worker, || dry_run::describe(&sub_suites, request, device, ranks.size()));
        agree(ranks, refusals)?;
        return described;
    }
    agree(ranks, refusals)?;

    stop_signal::end_if_requested(ranks)?;
    let lock = on_leader(&worker, || RunLock::take(folder.root()).map(Some));
    // a request may have ended the wait for another run
    stop_signal::end_if_requested(ranks)?;
    let _lock = lock?;
    let is_part = matches!(request.scope, RunScope::Part { .. });
    // another launch may have finished it during the wait
    if is_part && from_leader(ranks, &folder.path(layout::TIMING).is_file()) {
        return Ok(());
    }
    let stop_file = folder.path(layout::STOP);
    let _no_stop_file = on_leader(&worker, || Ok(Some(NoStopFile::make(stop_file.clone())?)))?;
    let _shared = (ranks.size() > 1).then(|| stop_signal::share(StopFile::at(stop_file)));

    let mut phases = Phases::default();
    let prepare = || prepare::prepare_all(sub_suites, request, &folder, precision, &worker);
    let prepared: Vec<Prepared> = timed(&mut phases.data, prepare)?;
    on_leader(&worker, || integrity::tidy(&folder))?;
    let contexts = reporting::begin(&prepared, &folder, compute, &worker)?;
    let target = reuse::Target { folder: &folder, prepared: &prepared, scope: &request.scope };
    on_leader(&worker, || target.copy_trainings(&request.pretrained))?;
    on_leader(&worker, || target.copy_parts(&request.parts))?;

    let options = CellOptions { scope: request.scope.clone(), compute, ranks_per_cell };
    let mut done = Cells::default();
    for (place, (prepared, report)) in prepared.iter().zip(&contexts).enumerate() {
        let open = || RunContext::open(prepared, &folder, options.clone(), &worker);
        let context = timed(&mut phases.data, open)?;
        let is_last = place + 1 == contexts.len();
        DataSetRun { context, report, is_last }.run(&mut phases, &mut done)?;
    }

    if worker.leads() {
        let cells = integrity::complete_cells(&folder, &done.planned).map_err(Failure::run)?;
        let is_whole = done.diverged.is_empty() && done.failed.is_empty();
        match &request.scope {
            RunScope::Whole if is_whole || !cells.is_empty() => {
                reporting::write(&folder, &cells, &contexts).map_err(Failure::run)?;
                phases.write(&folder).map_err(Failure::run)?;
                if !request.no_tables {
                    reporting::print(&folder, &cells, &contexts).map_err(Failure::run)?;
                }
            }
            RunScope::Part { .. } => phases.write(&folder).map_err(Failure::run)?,
            RunScope::Whole | RunScope::Trainings => (),
        }
    }
    outcome::outcome(&folder, &done.diverged, &done.failed)
}

/// A request whose options and files have been looked at.
struct Checked<'a> {
    sub_suites: Vec<SubSuite>,
    worker: Worker<'a>,
    ranks_per_cell: usize,
    precision: Choice,
    /// Everything that refuses the run, as this rank sees it.
    refusals: Result<()>,
}

/// Looks at everything that a run needs. Nothing is written.
fn check<'a>(request: &RunRequest, ranks: &'a dyn Collective) -> Outcome<Checked<'a>> {
    let mut sub_suites = agree(ranks, data_sets::load(&request.suite, &request.set, &request.rows))?;
    if request.floors {
        floors::add(&mut sub_suites);
    }
    if let RunScope::Part { .. } = request.scope {
        // loading needs their names; the whole run measures them
        sub_suites.iter_mut().for_each(|sub_suite| sub_suite.suite.rows.clear());
    }
    agree(ranks, request.check_rows(&sub_suites))?;
    let mut worker = Worker::start(ranks, request.compute)?;
    worker.micro_batch = agree(ranks, request.valid_micro_batch(&sub_suites))?;
    let ranks_per_cell = agree(ranks, request.valid_ranks_per_cell(&sub_suites, ranks.size()))?;
    worker.cuda_graph = agree(ranks, request.valid_cuda_graph(worker.device, ranks_per_cell))?;
    agree(ranks, sub_suites.iter().try_for_each(|sub_suite| request.looks(&sub_suite.suite).map(drop)))?;
    let precision = prepare::precision(request.precision, &RunFolder::new(&request.out), &worker);
    let refusals = checks::check(&sub_suites, request, precision.compute, &worker);
    Ok(Checked { sub_suites, worker, ranks_per_cell, precision, refusals })
}
