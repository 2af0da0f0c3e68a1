//! The steps of a training and their learning rates.

use eqr_models::MethodKind;
use eqr_models::schedule::{Decay, Schedule};

use crate::suite_file::plan::{Budget, Row};
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
    /// The steps of the training of `row` on `used` of `all` units. [`Budget::EqualEpochs`] fixes the number
    /// of passes over the used units. [`Budget::EqualSteps`] takes as many steps as a training on all units.
    pub fn new(suite: &Suite, row: &Row, used: usize, all: usize) -> Self {
        let per_epoch = |units: usize| (units / suite.train.batch) as u64;
        let paced_by = match row.budget {
            Budget::EqualEpochs => used,
            Budget::EqualSteps => all,
        };
        TrainingSteps {
            per_epoch: per_epoch(used),
            schedule: schedule(suite, &row.kind, per_epoch(paced_by)),
        }
    }

    /// Number of steps.
    pub fn total(&self) -> u64 {
        self.schedule.total as u64
    }
}

/// Learning rate scaled to the batch, with a warm-up of min(10 epochs, 5% of the steps); or the method's own.
fn schedule(suite: &Suite, kind: &MethodKind, steps_per_epoch: u64) -> Schedule {
    let train = &suite.train;
    let epochs = match kind {
        MethodKind::Direct(_) => train.ceiling_epochs.unwrap_or(train.epochs),
        _ => train.epochs,
    };
    let total = steps_per_epoch * epochs;
    let (total_steps, warmup) = (total as i64, (10 * steps_per_epoch).min(total / 20).max(1) as i64);
    match kind.own_learning_rate() {
        Some(peak) => Schedule { peak, warmup: 0, total: total_steps, decay: Decay::Constant },
        None => {
            let peak = train.lr * train.batch as f64 / 256.0;
            Schedule { peak, warmup, total: total_steps, decay: Decay::Cosine }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_train_longer_and_a_recipe_of_its_own_keeps_its_rate() {
        let set = ["train.batch=128", "train.epochs=2", "train.ceiling_epochs=5", "train.lr=2e-3"];
        let suite = Suite::load("cifar10-reduced", &set.map(str::to_owned)).unwrap();
        let steps = |row: &str| TrainingSteps::new(&suite, &row.parse().unwrap(), 640, 6400).schedule;
        let usual = Schedule { peak: 1e-3, warmup: 1, total: 10, decay: Decay::Cosine };
        assert_eq!(steps("Ours"), usual);
        assert_eq!(steps("Direct regression(rot)"), Schedule { total: 25, ..usual });
        assert_eq!(steps("SIE(all), equal steps"), Schedule { total: 100, warmup: 5, ..usual });
        let own = Schedule { warmup: 0, decay: Decay::Constant, ..usual };
        assert_eq!(steps("SIE(all, own recipe)"), own);
    }
}
