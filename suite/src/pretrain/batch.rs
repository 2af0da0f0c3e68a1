//! The batches of a training: their units (objects or images), and the pairs that this rank makes from them.

use eqr_models::Collective;
use eqr_models::collective::shares;
use eqr_models::step::Batch;
use tch::Kind;

use crate::data::pairs::PairSource;
use crate::pretrain::training_job::TrainingJob;

/// Makes this rank's pairs for each batch.
pub(super) struct BatchMaker {
    source: PairSource,
    takes_other_view1: bool,
    seed: u64,
    epoch: u64,
    rank: usize,
    ranks: usize,
}

impl BatchMaker {
    pub(super) fn new(job: &TrainingJob, epoch: u64) -> BatchMaker {
        let ranks: &dyn Collective = job.worker.ranks;
        BatchMaker {
            source: job.source.share(),
            takes_other_view1: job.takes_other_view1,
            seed: job.seed,
            epoch,
            rank: ranks.rank(),
            ranks: ranks.size(),
        }
    }

    /// This rank's share of the batch of `units`.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub(super) fn make(&self, units: &[usize]) -> anyhow::Result<Batch> {
        let rows = shares(units.len(), self.ranks);
        let start: usize = rows[..self.rank].iter().sum();
        let pairs_of = |units: &[usize]| self.source.pairs(self.seed, self.epoch, units);
        let own = start..start + rows[self.rank];
        let pairs = pairs_of(&units[own.clone()])?;
        // a pair is a function of its unit, so that this rank can make pairs of other ranks
        let half_a_batch_on = |row: usize| units[(row + units.len() / 2) % units.len()];
        let other_view1 = if self.takes_other_view1 {
            Some(pairs_of(&own.map(half_a_batch_on).collect::<Vec<_>>())?.view1)
        } else {
            None
        };
        Ok(Batch {
            view1: pairs.view1,
            view2: pairs.view2,
            other_view1,
            labels: pairs.labels.to_kind(Kind::Float),
            parameters: pairs.parameters,
            rows: rows.into_iter().map(|rows| rows as i64).collect(),
        })
    }
}

/// The units in the global batch of step `step`, counted from 1.
pub fn global_batch_units(job: &TrainingJob, step: u64) -> Vec<usize> {
    let per_epoch = job.steps.per_epoch;
    let (epoch, step_of_epoch) = ((step - 1) / per_epoch, (step - 1) % per_epoch);
    let batch = job.suite.train.batch;
    job.source.order(job.seed, epoch).into_iter().skip(step_of_epoch as usize * batch).take(batch).collect()
}
