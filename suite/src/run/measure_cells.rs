//! Measures the cells of a sub-suite. The measurements are independent: each rank takes the next one when it
//! is free. If one fails, the others are still done.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::cluster::agreement::{gather, on_any_rank, same_everywhere};
use crate::cluster::standstill::MeasurementWatch;
use crate::cluster::stop_signal;
use crate::console::Progress;
use crate::failure::{Failure, Outcome};
use crate::measure::exit_code::exit_code;
use crate::measure::imported_results;
use crate::run::context::RunContext;
use crate::run::dealing::Dealing;
use crate::run::measurements::{MeasuredRow, Measurement, MeasurementKind, possible};
use crate::run::order::dearest_first;
use crate::run::outcome::FailedMeasurement;
use crate::run::{probe_cell, segment_cell, transfer_cell, xray_cell};
use crate::run_folder::cell::{Cell, SCHEMA};
use crate::run_folder::metric::ValueOrigin;
use crate::suite_file::plan::EncoderRun;

/// Measures every missing cell of the wanted rows and returns the measurements that failed. Encoders whose
/// training diverged are skipped.
///
/// # Errors
/// Ranks that see different cells, a cell that cannot be written, a stop request before the last measurement.
pub(super) fn measure_missing(
    context: &RunContext,
    diverged: &[EncoderRun],
    wanted: impl Fn(&MeasuredRow) -> bool,
) -> Outcome<Vec<FailedMeasurement>> {
    let (ranks, folder) = (context.worker.ranks, context.folder);
    let has_diverged = |row: &MeasuredRow| matches!(row, MeasuredRow::Trained(run) if diverged.contains(run));
    let mut missing = possible(context)?;
    missing.retain(|Measurement { id, row, .. }| wanted(row) && !has_diverged(row) && !folder.has_cell(id));
    dearest_first(context, &mut missing);
    let ids: Vec<&str> = missing.iter().map(|measurement| measurement.id.as_str()).collect();
    same_everywhere(ranks, "the list of finished cells", &ids.join(" "))?;
    let dealing = Dealing::begin(context.worker, folder, ranks.size())?;
    let progress = Progress::new("measurements");
    progress.at(0, missing.len() as u64);
    let (mut failed, mut stopped) = (Vec::new(), false);
    for (i, measurement) in missing.iter().enumerate() {
        stopped = stop_signal::stop_requested();
        if stopped {
            break;
        }
        // from before it is taken, so that there is no moment in which nobody would notice
        let _watch = MeasurementWatch::begin(&measurement.id);
        if !dealing.take(&measurement.id).map_err(Failure::run)? {
            continue;
        }
        match measure(context, measurement) {
            Ok(cell) => {
                folder.write_cell(&cell).and_then(|()| folder.clear_failed(&cell.id)).map_err(Failure::run)?
            }
            Err(error) => {
                let report = json!({"cell": measurement.id, "error": format!("{error:#}")});
                folder.write_failed(&measurement.id, &report).map_err(Failure::run)?;
                failed.push((i, exit_code(&error)));
            }
        }
        // those before it are taken, too
        progress.at((i + 1) as u64, missing.len() as u64);
    }
    progress.finish();
    context.opened.forget();
    dealing.end();
    if on_any_rank(ranks, stopped) {
        return Err(stop_signal::stopped_by_signal());
    }
    let mut all: Vec<(usize, i32)> = gather(ranks, &failed).into_iter().flatten().collect();
    // whoever took them
    all.sort_unstable();
    let failed = |(i, exit_code): (usize, i32)| FailedMeasurement { cell: missing[i].id.clone(), exit_code };
    Ok(all.into_iter().map(failed).collect())
}

fn measure(context: &RunContext, measurement: &Measurement) -> Result<Cell> {
    let start = Instant::now();
    let Measurement { id, row, kind } = measurement;
    let (dataset, table) = kind.data_set(context);
    let (method, pretrain_seed) = (row.name(), row.pretrain_seed());
    let suite = &context.suite().name;
    let origin = ValueOrigin { suite, table, dataset, method: method.clone(), pretrain_seed, cell: id };
    let mut step = 0;
    let (mut encoder, mut resampled, mut xray) = (None, Vec::new(), None);
    let metrics = match row.results() {
        Some(results) => imported_results::metrics(results, &origin, kind.cell_kind())?,
        None => {
            let measured = match *kind {
                MeasurementKind::Probe { step: at } => {
                    let (measured, trained_steps) = probe_cell::measure(context, row, at)?;
                    step = trained_steps;
                    measured
                }
                MeasurementKind::Transfer { set } => transfer_cell::measure(context, row, set)?,
                MeasurementKind::Xray => xray_cell::measure(context, row)?,
                MeasurementKind::Segment { set, seed } => segment_cell::measure(context, id, row, set, seed)?,
            };
            (encoder, resampled, xray) = (measured.encoder, measured.resampled, measured.xray);
            measured.values.into_iter().map(|value| value.metric(&origin)).collect()
        }
    };
    Ok(Cell {
        schema: SCHEMA,
        id: id.clone(),
        kind: kind.cell_kind(),
        data_set: context.prepared.sub_suite.key.clone(),
        method,
        pretrain_seed,
        step,
        last: !matches!(kind, MeasurementKind::Probe { step: Some(_) }),
        metrics,
        curve: Vec::new(),
        seconds: start.elapsed().as_secs_f64(),
        resumed: false,
        external: row.is_external(),
        encoder,
        resampled,
        views: None,
        energy: None,
        xray,
    })
}
