//! The pretraining cells of a sub-suite: trains what is missing and writes one cell per training.

use anyhow::Result;
use eqr_device::settings;
use serde_json::json;

use crate::cluster::agreement::{from_leader, gather, on_any_rank, same_everywhere};
use crate::cluster::allocator::release_freed_memory;
use crate::cluster::energy::{Energy, EnergyMeter};
use crate::cluster::stop_signal;
use crate::cluster::worker::Worker;
use crate::console::say;
use crate::failure::{Failure, Outcome};
use crate::pretrain::batch::global_batch_units;
use crate::pretrain::divergence::Divergence;
use crate::pretrain::training_job::{FinishedTraining, TrainingJob, TrainingStop};
use crate::pretrain::training_loop::train;
use crate::run::context::RunContext;
use crate::run::dealing::Dealing;
use crate::run::order::dearest_trainings_first;
use crate::run::prepare::on_leader;
use crate::run_folder::cell::{Cell, CellKind, SCHEMA};
use crate::suite_file::plan::{EncoderRun, curve_steps};

/// How a training ended.
enum TrainingEnd {
    Finished,
    Diverged,
    Stopped,
}

/// Trains every encoder that has no cell yet, and returns those whose training diverged. Groups of
/// `ranks_per_cell` ranks train side by side: each takes the dearest training left when it is free.
pub(super) fn train_missing(context: &RunContext) -> Outcome<Vec<EncoderRun>> {
    let ranks = context.worker.ranks;
    let mut missing = context.encoder_runs()?;
    missing.retain(|run| run.row.kind.trains() && !context.folder.has_cell(&run.pretrain_id()));
    let ids: Vec<String> = missing.iter().map(EncoderRun::pretrain_id).collect();
    // this also ensures that all ranks have looked before one of them writes
    same_everywhere(ranks, "the list of finished cells", &ids.join(" "))?;
    let groups = ranks.size() / context.options.ranks_per_cell;
    let group = ranks.rank() / context.options.ranks_per_cell;
    let group_ranks;
    let worker = if groups > 1 {
        group_ranks = ranks.split(group);
        &context.worker.in_group(&*group_ranks)?
    } else {
        context.worker
    };
    if groups > 1 {
        dearest_trainings_first(context, &mut missing);
    }
    let dealing = Dealing::begin(context.worker, context.folder, groups)?;
    // the other groups do not know of a failure in this group and must be ended
    let of_group = |failure: Failure| Failure { agreed: failure.agreed && groups == 1, ..failure };
    let (mut diverged, mut stopped) = (Vec::new(), false);
    for i in 0..missing.len() {
        stopped = stop_signal::stop_requested_on_any_rank(worker.ranks);
        if stopped {
            break;
        }
        let took =
            on_leader(worker, || dealing.take(&missing[i].pretrain_id()).map(Some)).map_err(of_group)?;
        if from_leader(worker.ranks, &took) != Some(true) {
            continue;
        }
        let data_set = missing[i].data_set.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        let label =
            format!("[{}/{}] {data_set}{}, seed {}", i + 1, missing.len(), missing[i].row, missing[i].seed);
        match train_one(context, &missing[i], label, worker).map_err(of_group)? {
            TrainingEnd::Diverged if worker.leads() => diverged.push(i),
            TrainingEnd::Finished | TrainingEnd::Diverged => (),
            TrainingEnd::Stopped => {
                stopped = true;
                break;
            }
        }
    }
    dealing.end();
    if on_any_rank(ranks, stopped) {
        return Err(stop_signal::stopped_by_signal());
    }
    let diverged = gather(ranks, &diverged).into_iter().flatten().map(|i| missing[i].clone()).collect();
    release_freed_memory();
    if context.worker.device.is_cuda() {
        settings::release_cached_memory().map_err(Failure::run)?;
    }
    Ok(diverged)
}

fn train_one(context: &RunContext, run: &EncoderRun, label: String, worker: &Worker) -> Outcome<TrainingEnd> {
    let source = context.training_pairs(run).map_err(Failure::run)?;
    let steps = context.training_steps(run, source.units().len());
    let job = TrainingJob {
        suite: context.suite(),
        source: &source,
        takes_other_view1: run.row.kind.takes_other_view1(),
        steps,
        seed: run.seed,
        curve_steps: curve_steps(context.suite(), run.row.budget, steps.per_epoch),
        checkpoints: context.checkpoints(run),
        run_folder: context.folder,
        events: context.events(run),
        cell: run.pretrain_id(),
        label,
        worker,
    };
    let mut network = context.new_network(run).map_err(Failure::run)?;
    if let Some(encoder) = &context.prepared.initial_encoder {
        encoder.initialise(&mut network).map_err(Failure::run)?;
    }
    // groups share nodes, whose counters do not tell them apart
    let has_nodes_alone = worker.ranks.size() == context.worker.ranks.size();
    let meter = has_nodes_alone.then(|| EnergyMeter::start(worker.ranks, worker.device));
    let (end, written) = match train(&mut network, &job) {
        Ok(training) => {
            let energy = match meter {
                Some(meter) => meter.energy(worker.ranks),
                None => Energy::not_available("trainings ran side by side (--ranks-per-cell)"),
            };
            let energy = (!training.resumed).then_some(energy);
            let write = || write_finished(context, run, &job, training, energy);
            (TrainingEnd::Finished, if worker.leads() { write() } else { Ok(()) })
        }
        Err(TrainingStop::Failed(failure)) => return Err(failure),
        Err(TrainingStop::Diverged(divergence)) if worker.leads() => {
            (TrainingEnd::Diverged, write_diverged(context, &job, &divergence))
        }
        Err(TrainingStop::Diverged(_)) => (TrainingEnd::Diverged, Ok(())),
        Err(TrainingStop::Requested) => (TrainingEnd::Stopped, Ok(())),
    };
    written.map_err(Failure::run)?;
    Ok(end)
}

fn write_finished(
    context: &RunContext,
    run: &EncoderRun,
    job: &TrainingJob,
    FinishedTraining { state, resumed }: FinishedTraining,
    energy: Option<Energy>,
) -> Result<()> {
    let loss = state.curve.last().map_or(f64::NAN, |point| point.terms["loss"]);
    let views = 2 * state.step * context.suite().train.batch as u64;
    let rate = views as f64 / state.seconds;
    let counted = energy.as_ref().filter(|energy| energy.total().is_some());
    let spent = counted.map(|energy| format!(", {}", energy.text(views as f64))).unwrap_or_default();
    say(&format!(
        "{}: {} steps, {:.1} s, {rate:.0} views/s, loss {loss:.4}{spent}",
        job.label, state.step, state.seconds
    ));
    let cell = Cell {
        schema: SCHEMA,
        id: job.cell.clone(),
        kind: CellKind::Pretrain,
        data_set: run.data_set.clone(),
        method: run.row.to_string(),
        pretrain_seed: run.seed,
        step: state.step,
        last: true,
        metrics: Vec::new(),
        curve: state.curve,
        seconds: state.seconds,
        resumed,
        external: false,
        encoder: None,
        resampled: Vec::new(),
        views: Some(views),
        energy,
        xray: None,
    };
    context.folder.write_cell(&cell)?;
    context.folder.clear_failed(&job.cell)?;
    let line = json!({
        "cell": cell.id, "steps": cell.step, "seconds": cell.seconds, "views_per_s": rate, "loss": loss,
        "energy": cell.energy, "wh_per_million_views": cell.wh_per_million_views(),
    });
    context.folder.log(&line)
}

fn write_diverged(context: &RunContext, job: &TrainingJob, divergence: &Divergence) -> Result<()> {
    // a damaged checkpoint was set aside when the training began
    let last_good = job.checkpoints.steps()?.first().map(|&step| job.checkpoints.at_step(step));
    let mut report = divergence.report();
    report["cell"] = json!(job.cell);
    report["batch"] = json!(global_batch_units(job, divergence.step));
    report["last_good_checkpoint"] = json!(last_good);
    let path = context.folder.write_failed(&job.cell, &report)?;
    let last_good = last_good.map_or("none".to_owned(), |path| path.display().to_string());
    say(&format!(
        "{}: {divergence}; last good checkpoint: {last_good}; report: {}",
        job.label,
        path.display()
    ));
    context.folder.log(&json!({"cell": job.cell, "diverged": report}))
}
