//! How the ranks together save a training and resume it.

use eqr_models::adam::Adam;
use serde_json::json;

use crate::cluster::agreement::{agree, from_leader};
use crate::cluster::worker::Worker;
use crate::console::say;
use crate::encoder::network::Network;
use crate::failure::Outcome;
use crate::pretrain::training_job::TrainingJob;
use crate::run_folder::checkpoint::{Checkpoint, TrainingState};
use crate::run_folder::training_identity::TrainingIdentity;

/// Restores the newest undamaged checkpoint: rank 0 chooses it, all ranks read it.
pub(super) fn resume(
    network: &mut Network,
    adam: &mut Adam,
    identity: &TrainingIdentity,
    job: &TrainingJob,
) -> Outcome<Option<TrainingState>> {
    let ranks = job.worker.ranks;
    let warn = |warning: &str| {
        say(&format!("{}: {warning}", job.label));
        job.run_folder.log(&json!({"cell": job.cell, "warning": warning}))
    };
    let newest =
        if job.worker.leads() { job.checkpoints.newest_undamaged(identity, &warn) } else { Ok(None) };
    let Some(step) = from_leader(ranks, &agree(ranks, newest)?) else { return Ok(None) };
    let checkpoint = Checkpoint::open(&job.checkpoints.at_step(step));
    let state = checkpoint.and_then(|checkpoint| checkpoint.restore(identity, &mut network.arena, adam));
    // all ranks have read it before rank 0 writes the next one
    agree(ranks, state.map_err(anyhow::Error::from)).map(Some)
}

/// Copies rank 0's parameters and moments to all ranks. Ranks with different CPUs or thread counts round
/// differently, and a resumed training starts from rank 0's checkpoint.
pub(super) fn broadcast_state(network: &mut Network, adam: &mut Adam, worker: &Worker) {
    if worker.ranks.size() == 1 {
        return;
    }
    tch::no_grad(|| {
        for mut tensor in
            [network.arena.master().shallow_clone(), adam.m.shallow_clone(), adam.v.shallow_clone()]
        {
            worker.ranks.broadcast(&mut tensor);
        }
        network.arena.sync();
    });
}

/// Writes the checkpoint and, if a probe needs them, a copy of only the parameters.
pub(super) fn save(
    network: &Network,
    adam: &Adam,
    state: &TrainingState,
    identity: &TrainingIdentity,
    job: &TrainingJob,
) -> anyhow::Result<()> {
    if job.curve_steps.contains(&state.step) {
        job.checkpoints.save_parameters(&network.arena, state, identity)?;
    }
    job.checkpoints.save(&network.arena, adam, state, identity)
}
