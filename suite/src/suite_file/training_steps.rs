//! The steps of a training and their learning rates.

use eqr_models::schedule::Schedule;

use crate::suite_file::plan::Budget;
use crate::suite_file::suite::Suite;

/// The steps of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingSteps {
    /// Steps per pass over the units; an incomplete last batch is dropped.
    pub per_epoch: u64,
    /// Number of steps, and their learning rates.
    pub schedule: Schedule,
}

impl TrainingSteps {
    /// The steps of a training on `used` of `all` units. [`Budget::EqualEpochs`] fixes the number of passes
    /// over the used units. [`Budget::EqualSteps`] takes as many steps as a training on all units.
    pub fn new(suite: &Suite, budget: Budget, used: usize, all: usize) -> Self {
        let per_epoch = |units: usize| (units / suite.train.batch) as u64;
        let paced_by = match budget {
            Budget::EqualEpochs => used,
            Budget::EqualSteps => all,
        };
        TrainingSteps { per_epoch: per_epoch(used), schedule: schedule(suite, per_epoch(paced_by)) }
    }

    /// Number of steps.
    pub fn total(&self) -> u64 {
        self.schedule.total as u64
    }
}

/// Learning rate scaled to the batch; warm-up of min(10 epochs, 5% of the steps).
fn schedule(suite: &Suite, steps_per_epoch: u64) -> Schedule {
    let total = steps_per_epoch * suite.train.epochs;
    let warmup = (10 * steps_per_epoch).min(total / 20).max(1);
    Schedule {
        peak: suite.train.lr * suite.train.batch as f64 / 256.0,
        warmup: warmup as i64,
        total: total as i64,
    }
}
