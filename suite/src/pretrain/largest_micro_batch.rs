//! `--micro-batch auto`: the largest number of pairs that a rank can encode at a time, found by trying.
//!
//! A try computes what a step computes, on a batch of this training, without the other ranks and without an
//! update. So it changes neither the parameters nor what is drawn later: a pair is a function of its unit.

use anyhow::Result;
use eqr_device::settings;
use eqr_models::step::{Batch, gradients};
use eqr_models::{Activations, encoder_gradient_norms};
use serde_json::json;

use crate::cluster::absent_ranks::AbsentRanks;
use crate::cluster::agreement::gather;
use crate::cluster::micro_batch::{MicroBatch, tries};
use crate::console::say;
use crate::encoder::network::Network;
use crate::failure::out_of_memory::{OutOfMemory, RunningTraining, attempt};
use crate::failure::{Failure, Outcome};
use crate::pretrain::batch::BatchMaker;
use crate::pretrain::training_job::TrainingJob;

/// What a rank keeps of its pairs in this training. Trying starts with the whole share and halves it until a
/// step fits; all ranks take the smallest number that one of them found. Where one pair alone does not fit,
/// the job ends as when memory runs out in a training. `ahead` batches exist beside that of a step.
///
/// # Errors
/// Images that cannot be read; a log that cannot be written.
pub(super) fn activations(network: &mut Network, job: &TrainingJob, ahead: usize) -> Outcome<Activations> {
    let recompute = job.suite.train.recompute;
    let micro_batch = match job.worker.micro_batch {
        MicroBatch::Whole => None,
        MicroBatch::Pairs(pairs) => Some(pairs.get() as i64),
        MicroBatch::Auto => Some(largest(network, job, ahead)?),
    };
    Ok(Activations { micro_batch, recompute })
}

fn largest(network: &mut Network, job: &TrainingJob, ahead: usize) -> Outcome<i64> {
    let ranks = job.worker.ranks;
    let all = job.suite.train.batch;
    let share = all.div_ceil(ranks.size());
    let units = &job.source.order(job.seed, 0)[..all];
    let batch = BatchMaker::new(job, 0).make(units).map_err(Failure::run)?;
    let alone = AbsentRanks { rank: ranks.rank(), size: ranks.size() };
    let recompute = job.suite.train.recompute;
    let mut fits = |pairs: usize| {
        let _running = RunningTraining::begin(all, pairs, recompute);
        let activations = Activations { micro_batch: Some(pairs as i64), recompute };
        match try_step(network, &batch, activations, &alone, ahead) {
            Ok(()) => Ok(true),
            // as in a training: the panic hook says what to do, and ends all ranks
            Err(error) if pairs == 1 => panic!("{}", error.allocator),
            Err(_) if job.worker.device.is_cuda() => settings::release_cached_memory().map(|()| false),
            Err(_) => Ok(false),
        }
    };
    let mut found = 1;
    for pairs in tries(share) {
        if fits(pairs).map_err(Failure::run)? {
            found = pairs;
            break;
        }
    }
    let pairs = gather(ranks, &found).into_iter().min().expect("at least this rank");
    say(&format!("{}: {} (--micro-batch auto)", job.label, described(pairs, share)));
    if job.worker.leads() {
        job.run_folder.log(&json!({"cell": job.cell, "micro_batch": pairs})).map_err(Failure::run)?;
    }
    Ok(pairs as i64)
}

fn described(pairs: usize, share: usize) -> String {
    match pairs == share {
        true => format!("all {share} pairs of a rank fit in memory"),
        false => format!("{pairs} of {share} pairs of a rank fit in memory"),
    }
}

/// One step on `batch`, and the measurement of the encoder's gradient by term, which some steps make. `ahead`
/// copies of the batch lie beside it.
fn try_step(
    network: &mut Network,
    batch: &Batch,
    activations: Activations,
    ranks: &AbsentRanks,
    ahead: usize,
) -> Result<(), OutOfMemory> {
    let Network { arena, model } = network;
    attempt(|| {
        // `tch::no_grad` leaves the mode as it is if a panic leaves it; this guard restores it
        let _mode = tch::no_grad_guard();
        let _ahead: Vec<_> = (0..ahead).map(|_| [batch.view1.copy(), batch.view2.copy()]).collect();
        tch::with_grad(|| {
            encoder_gradient_norms(arena, model, batch, activations, ranks);
            gradients(arena, model, batch, activations, ranks);
        });
    })
}
