//! The training loop.

use std::time::Instant;

use eqr_datasets::Prefetch;
use eqr_models::adam::Adam;
use eqr_models::step::Batch;
use eqr_models::step_stage::StepStage;
use eqr_models::{Activations, StepGradient, encoder_gradient_norms};

use crate::cluster::agreement::agree_in_run;
use crate::cluster::stop_signal;
use crate::cluster::watchdog::TrainingWatch;
use crate::console::Progress;
use crate::encoder::network::Network;
use crate::failure::Failure;
use crate::failure::out_of_memory::RunningTraining;
use crate::pretrain::batch::BatchMaker;
use crate::pretrain::checkpointing::{broadcast_state, resume, save};
use crate::pretrain::collapse::CollapseStatistics;
use crate::pretrain::largest_micro_batch::activations;
use crate::pretrain::loss_curve::{LossCurve, StepReading};
use crate::pretrain::side_stream::SideStream;
use crate::pretrain::training_events::TrainingEvents;
use crate::pretrain::training_job::{FinishedTraining, TrainingJob, TrainingStop};
use crate::pretrain::training_log::log_epoch;
use crate::run_folder::checkpoint::TrainingState;
use crate::run_folder::training_identity::TrainingIdentity;

/// Number of batches prepared ahead of the step that uses them.
const PREFETCHED_BATCHES: usize = 2;

/// Trains to the last step, starting from the newest undamaged checkpoint if there is one. Writes a
/// checkpoint after each epoch and on a requested stop.
///
/// # Errors
/// A loss or gradient that is not finite; a checkpoint that belongs to another training, or that cannot be
/// read or written.
pub fn train(network: &mut Network, job: &TrainingJob) -> Result<FinishedTraining, TrainingStop> {
    let worker = job.worker;
    let total_steps = job.steps.schedule.total as u64;
    let encoder = network.model.encoder.config();
    let identity =
        TrainingIdentity::new(&network.arena, encoder, job.steps.schedule, job.source.normalisation());
    let mut adam = Adam::new(&network.arena, job.suite.train.weight_decay);
    let restored = resume(network, &mut adam, &identity, job)?;
    let resumed = restored.is_some();
    let mut state = restored.unwrap_or_default();
    let curve = LossCurve::new(total_steps, std::mem::take(&mut state.curve_sums));
    let watch = TrainingWatch::begin();
    let ahead = if job.source.wants_prefetch() { PREFETCHED_BATCHES } else { 0 };
    let activations = activations(network, job, ahead)?;
    let _running = note_running_training(job, activations);
    let progress = Progress::new(&job.label);
    let mut events = TrainingEvents::new(job.events.clone());
    let gradient = StepGradient::new(activations, worker.cuda_graph);
    let mut training = Training { network, gradient, adam, state, curve, watch, progress, job };
    while training.state.step < total_steps {
        let start = Instant::now();
        let points_before = training.state.curve.len();
        // the last epoch ends with the last step
        let epoch_end = total_steps.min((training.state.epoch + 1) * job.steps.per_epoch);
        let EpochOutcome { last_batch, stop_requested } = training.run_epoch(epoch_end)?;
        broadcast_state(training.network, &mut training.adam, worker);
        training.close_epoch(epoch_end)?;
        let Training { network, adam, state, .. } = &mut training;
        state.seconds += start.elapsed().as_secs_f64();
        let collapse = last_batch
            .map(|batch| CollapseStatistics::measure(network, &batch.view1, &batch.rows, worker.ranks));
        let saved = if worker.leads() {
            events.write(&state.curve[points_before..]);
            save(network, adam, state, &identity, job)
                .and_then(|()| log_epoch(job, state, &state.curve[points_before..], collapse))
        } else {
            Ok(())
        };
        // no rank takes a step before there is a checkpoint to resume from
        agree_in_run(worker.ranks, saved)?;
        if stop_requested && training.state.step < total_steps {
            return Err(TrainingStop::Requested);
        }
    }
    training.progress.finish();
    Ok(FinishedTraining { state: training.state, resumed })
}

/// What changes from step to step.
struct Training<'a> {
    network: &'a mut Network,
    gradient: StepGradient,
    adam: Adam,
    state: TrainingState,
    curve: LossCurve,
    watch: TrainingWatch,
    progress: Progress,
    job: &'a TrainingJob<'a>,
}

/// How the steps of an epoch ended.
#[derive(Default)]
struct EpochOutcome {
    /// The epoch's last batch; `None` if the epoch was stopped before it.
    last_batch: Option<Batch>,
    stop_requested: bool,
}

impl Training<'_> {
    /// Takes the remaining steps up to `epoch_end`, starting after the last step already taken.
    fn run_epoch(&mut self, epoch_end: u64) -> Result<EpochOutcome, TrainingStop> {
        let TrainingJob { suite, source, seed, .. } = *self.job;
        let epoch_start = self.state.epoch * self.job.steps.per_epoch;
        let order = source.order(seed, self.state.epoch);
        let units = order.chunks_exact(suite.train.batch).take((epoch_end - epoch_start) as usize);
        let units = units.skip((self.state.step - epoch_start) as usize);
        let maker = BatchMaker::new(self.job, self.state.epoch);
        if !source.wants_prefetch() {
            return self.take_steps(&mut units.map(|units| maker.make(units)), epoch_end);
        }
        let side = SideStream::beside(self.job.worker.device).map_err(Failure::run)?;
        let batches = units.map(move |units| side.prepare(|| maker.make(units)));
        std::thread::scope(|scope| {
            let prefetched = Prefetch::new(scope, PREFETCHED_BATCHES, batches);
            self.take_steps(&mut prefetched.map(|batch| batch?.take()), epoch_end)
        })
    }

    fn take_steps(
        &mut self,
        batches: &mut dyn Iterator<Item = anyhow::Result<Batch>>,
        epoch_end: u64,
    ) -> Result<EpochOutcome, TrainingStop> {
        let TrainingJob { steps, worker, .. } = self.job;
        let Training { network, gradient, adam, state, curve, watch, progress, .. } = self;
        let mut outcome = EpochOutcome::default();
        watch.steps_begin();
        worker.ranks.begin_stage(StepStage::Batch);
        for batch in batches {
            let batch = batch.map_err(Failure::run)?;
            let (step, total) = (state.step + 1, steps.schedule.total as u64);
            let encoder_gradient = if curve.encoder_gradient_is_due(step, total) {
                let Network { arena, model } = &**network;
                encoder_gradient_norms(arena, model, &batch, gradient.activations, worker.ranks)
            } else {
                Vec::new()
            };
            let Network { arena, model } = &mut **network;
            let terms = gradient.fill(arena, model, &batch, worker.ranks).map_err(Failure::run)?;
            worker.ranks.begin_stage(StepStage::Update);
            let reading = StepReading::new(step, &terms, &network.arena, encoder_gradient);
            adam.update(&mut network.arena, steps.schedule.at(state.step as i64));
            state.step += 1;
            let epoch_ends = state.step == epoch_end;
            state.curve.extend(curve.push(reading, epoch_ends)?);
            outcome.last_batch = epoch_ends.then_some(batch);
            watch.step_done();
            progress.at(state.step, total);
            outcome.stop_requested = stop_signal::stop_requested_on_any_rank(worker.ranks);
            if outcome.stop_requested {
                break;
            }
            worker.ranks.begin_stage(StepStage::Batch);
        }
        watch.steps_end();
        worker.ranks.begin_stage(StepStage::Between);
        Ok(outcome)
    }

    /// Counts a complete epoch. If the epoch was stopped, reads the last step and keeps the sums for the next
    /// point of the curve.
    fn close_epoch(&mut self, epoch_end: u64) -> Result<(), TrainingStop> {
        if self.state.step == epoch_end {
            self.state.epoch += 1;
        } else {
            let (point, sums) = self.curve.stop()?;
            self.state.curve.extend(point);
            self.state.curve_sums = sums;
        }
        Ok(())
    }
}

/// Records how many pairs this rank encodes at a time, for a possible out-of-memory message.
fn note_running_training(job: &TrainingJob, activations: Activations) -> RunningTraining {
    let batch = job.suite.train.batch;
    let largest_share = batch.div_ceil(job.worker.ranks.size());
    let micro_batch =
        activations.micro_batch.map_or(largest_share, |pairs| largest_share.min(pairs as usize));
    RunningTraining::begin(batch, micro_batch, activations.recompute)
}
