//! Pretraining: the loop.

use std::time::Instant;

use eqr_datasets::Prefetch;
use eqr_models::collective::shares;
use eqr_models::adam::Adam;
use eqr_models::step::{Batch, gradients};
use serde_json::json;

use crate::cluster::agreement::{agree, agree_in_run, from_leader};
use crate::cluster::stop_signal;
use crate::cluster::watchdog::Watch;
use crate::cluster::worker::Worker;
use crate::console::{Progress, say};
use crate::data::pairs::PairSource;
use crate::encoder::network::Network;
use crate::failure::out_of_memory::Encoding;
use crate::failure::{Failure, Outcome};
use crate::pretrain::collapse::{self, Health};
use crate::pretrain::divergence::Divergence;
use crate::pretrain::loss_curve::{Curve, Reading};
use crate::run_folder::cell::CurvePoint;
use crate::run_folder::checkpoint::{Checkpoint, Checkpoints, Identity, State};
use crate::run_folder::store::RunFolder;
use crate::suite_file::course::TrainingSteps;
use crate::suite_file::suite::Suite;

/// Batches that are made ahead of the step that takes them.
const AHEAD: usize = 2;

/// This rank among how many.
#[derive(Clone, Copy)]
pub struct Place {
    /// `0..size`.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
}

/// The part of `place` in one step's batch.
///
/// # Errors
/// Images that cannot be read.
pub fn batch(source: &PairSource, seed: u64, epoch: u64, units: &[usize], place: Place) -> anyhow::Result<Batch> {
    let rows = shares(units.len(), place.size);
    let before: usize = rows[..place.rank].iter().sum();
    let mine = &units[before..before + rows[place.rank]];
    let pairs = source.pairs(seed, epoch, mine)?;
    Ok(Batch {
        view1: pairs.view1,
        view2: pairs.view2,
        labels: pairs.labels.to_kind(tch::Kind::Float),
        parameters: pairs.parameters,
        rows: rows.into_iter().map(|rows| rows as i64).collect(),
    })
}

/// One training: of what on what, and where it is written down.
pub struct TrainingJob<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// Training split.
    pub source: &'a PairSource,
    /// Its steps.
    pub course: TrainingSteps,
    /// Pretraining seed.
    pub seed: u64,
    /// Steps after which the parameters are kept for a probe.
    pub curve: Vec<u64>,
    /// Its checkpoints.
    pub checkpoints: Checkpoints,
    /// The run, for its log.
    pub store: &'a RunFolder,
    /// Id of the cell.
    pub cell: String,
    /// What people call it.
    pub label: String,
    /// This rank.
    pub worker: &'a Worker<'a>,
}

/// What a training left behind.
pub struct FinishedTraining {
    /// Counters and curve.
    pub state: State,
    /// Whether it continued an interrupted one.
    pub resumed: bool,
}

/// Why a training did not reach its end.
pub enum TrainingStop {
    /// The run cannot go on.
    Failed(Failure),
    /// This training cannot, on any rank; others can.
    Diverged(Divergence),
    /// A signal asked for it; the checkpoint is written.
    Asked,
}

impl From<Failure> for TrainingStop {
    fn from(failure: Failure) -> Self {
        TrainingStop::Failed(failure)
    }
}

impl From<Divergence> for TrainingStop {
    fn from(divergence: Divergence) -> Self {
        TrainingStop::Diverged(divergence)
    }
}

/// Trains to the end, from the newest whole checkpoint if there is one; a checkpoint follows every epoch, and a wish to stop.
///
/// # Errors
/// A loss or gradient that is not finite; a checkpoint of another training, or one that cannot be read or written.
pub fn train(network: &mut Network, job: &TrainingJob) -> Result<FinishedTraining, TrainingStop> {
    let TrainingJob { suite, source, course: TrainingSteps { per_epoch, schedule }, seed, worker, .. } = *job;
    let total = schedule.total as u64;
    let encoder = network.model.encoder.config();
    let identity = Identity::new(&network.arena, encoder, schedule, source.normalisation());
    let mut adam = Adam::new(&network.arena, suite.train.weight_decay);
    let found = resume(network, &mut adam, &identity, job)?;
    let resumed = found.is_some();
    let mut state = found.unwrap_or_default();
    let mut curve = Curve::new(total, std::mem::take(&mut state.since));
    let mut watch = Watch::begin();
    let largest = suite.train.batch.div_ceil(worker.ranks.size());
    let _encoding =
        Encoding::begin(suite.train.batch, worker.micro_batch.map_or(largest, |pairs| largest.min(pairs as usize)));
    let progress = Progress::new(&job.label);
    let place = Place { rank: worker.ranks.rank(), size: worker.ranks.size() };
    while state.step < total {
        let start = Instant::now();
        // the last pass ends with the last step, and one that was stopped has begun
        let begin = state.epoch * per_epoch;
        let end = total.min(begin + per_epoch);
        let (order, epoch) = (source.order(seed, state.epoch), state.epoch);
        let own = source.share();
        let units = order.chunks_exact(suite.train.batch).take((end - begin) as usize);
        let units = units.skip((state.step - begin) as usize);
        let batches = units.map(move |units| batch(&own, seed, epoch, units, place));
        let known_points = state.curve.len();
        let (mut last_batch, mut stopping) = (None, false);
        std::thread::scope(|scope| {
            let mut steps = |batches: &mut dyn Iterator<Item = anyhow::Result<Batch>>| -> Result<(), TrainingStop> {
                watch.steps_begin();
                for batch in batches {
                    let batch = batch.map_err(Failure::run)?;
                    let terms = gradients(&mut network.arena, &network.model, &batch, worker.micro_batch, worker.ranks);
                    let reading = Reading::new(state.step + 1, &terms, &network.arena);
                    adam.update(&mut network.arena, schedule.at(state.step as i64));
                    state.step += 1;
                    let epoch_ends = state.step == end;
                    state.curve.extend(curve.push(reading, epoch_ends)?);
                    last_batch = epoch_ends.then_some(batch);
                    watch.step_done();
                    progress.at(state.step, total);
                    stopping = stop_signal::asked_of_any(worker.ranks);
                    if stopping {
                        break;
                    }
                }
                watch.steps_end();
                Ok(())
            };
            if source.wants_prefetch() {
                steps(&mut Prefetch::new(scope, AHEAD, batches))
            } else {
                steps(&mut { batches })
            }
        })?;
        align(network, &mut adam, worker);
        if state.step == end {
            state.epoch += 1;
        } else {
            let (point, since) = curve.stop()?;
            state.curve.extend(point);
            state.since = since;
        }
        state.seconds += start.elapsed().as_secs_f64();
        let health = last_batch.map(|batch| collapse::of(network, &batch.view1, &batch.rows, worker.ranks));
        let kept = if worker.leads() {
            keep(network, &adam, &state, &identity, job).and_then(|()| log_epoch(job, &state, known_points, health))
        } else {
            Ok(())
        };
        // nobody takes a step that could not be resumed from
        agree_in_run(worker.ranks, kept)?;
        if stopping && state.step < total {
            return Err(TrainingStop::Asked);
        }
    }
    progress.finish();
    Ok(FinishedTraining { state, resumed })
}

/// Units (objects or images of the training split) of the global batch of step `step`, counted from 1.
pub fn batch_units(job: &TrainingJob, step: u64) -> Vec<usize> {
    let per_epoch = job.course.per_epoch;
    let (epoch, place) = ((step - 1) / per_epoch, (step - 1) % per_epoch);
    let batch = job.suite.train.batch;
    job.source.order(job.seed, epoch).into_iter().skip(place as usize * batch).take(batch).collect()
}

/// Restores the newest whole checkpoint: rank 0 chooses, all ranks read the same one.
fn resume(network: &mut Network, adam: &mut Adam, identity: &Identity, job: &TrainingJob) -> Outcome<Option<State>> {
    let ranks = job.worker.ranks;
    let tell = |what: &str| {
        say(&format!("{}: {what}", job.label));
        job.store.log(&json!({"cell": job.cell, "warning": what}))
    };
    let newest = if job.worker.leads() { job.checkpoints.newest_whole(identity, &tell) } else { Ok(None) };
    let newest = agree(ranks, newest)?;
    // 0 stands for none: a checkpoint has taken steps
    let step = from_leader(ranks, newest.unwrap_or(0));
    if step == 0 {
        return Ok(None);
    }
    let checkpoint = Checkpoint::open(&job.checkpoints.at_step(step));
    let state = checkpoint.and_then(|found| found.restore(identity, &mut network.arena, adam));
    // every rank has read it before one writes the next
    agree(ranks, state.map_err(anyhow::Error::from)).map(Some)
}

/// Gives every rank rank 0's bits. Replicas may part by rounding where ranks have other CPUs or threads, and a resumed training starts
/// from rank 0's checkpoint.
fn align(network: &mut Network, adam: &mut Adam, worker: &Worker) {
    if worker.ranks.size() == 1 {
        return;
    }
    tch::no_grad(|| {
        for mut tensor in [network.arena.master().shallow_clone(), adam.m.shallow_clone(), adam.v.shallow_clone()] {
            worker.ranks.broadcast(&mut tensor);
        }
        network.arena.sync();
    });
}

fn keep(network: &Network, adam: &Adam, state: &State, identity: &Identity, job: &TrainingJob) -> anyhow::Result<()> {
    if job.curve.contains(&state.step) {
        job.checkpoints.save_parameters(&network.arena, state, identity)?;
    }
    job.checkpoints.save(&network.arena, adam, state, identity)
}

/// A line for each new point of the curve, and one for the epoch.
fn log_epoch(job: &TrainingJob, state: &State, known_points: usize, health: Option<Health>) -> anyhow::Result<()> {
    for CurvePoint { step, terms, gradient_norm } in &state.curve[known_points..] {
        let line = json!({"cell": job.cell, "step": step, "terms": terms, "gradient_norm": gradient_norm});
        job.store.log(&line)?;
    }
    let epoch = json!({"cell": job.cell, "epoch": state.epoch, "step": state.step, "y": health});
    job.store.log(&epoch)
}
