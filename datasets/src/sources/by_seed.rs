//! The split of a source that names none.

use rand::seq::SliceRandom;

use super::plan::Options;
use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};

/// Share and seed of a split.
#[derive(Clone, Copy)]
pub(super) struct BySeed {
    test_fraction: f64,
    seed: u64,
}

impl BySeed {
    /// As `options` say.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share outside (0, 1).
    pub(super) fn of(options: &Options) -> Result<Self> {
        Self::new(options.test_fraction, options.seed)
    }

    /// A share of `test_fraction`, drawn by `seed`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a share outside (0, 1).
    pub(super) fn new(test_fraction: f64, seed: u64) -> Result<Self> {
        if test_fraction > 0.0 && test_fraction < 1.0 {
            return Ok(Self { test_fraction, seed });
        }
        let reason = format!("the test fraction must be above 0 and below 1, and is {test_fraction}");
        Err(Error::Invalid(reason))
    }

    /// Positions of the training and of the test items among the `count` of class `label`, both ascending. A class of
    /// two items or more has both.
    pub(super) fn split(self, label: usize, count: usize) -> (Vec<usize>, Vec<usize>) {
        let mut test: Vec<usize> = (0..count).collect();
        test.shuffle(&mut rng(self.seed, 0, label as u64, Purpose::Subset));
        let share = (count as f64 * self.test_fraction).round() as usize;
        let tests = if count < 2 { 0 } else { share.clamp(1, count - 1) };
        let mut train = test.split_off(tests);
        train.sort_unstable();
        test.sort_unstable();
        (train, test)
    }

    /// What is recorded of it.
    pub(super) fn note(self) -> serde_json::Value {
        serde_json::json!({ "test_fraction": self.test_fraction, "seed": self.seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_lies_in_one_split_and_the_seed_draws_which() {
        let (train, test) = BySeed::new(0.25, 3).unwrap().split(0, 40);
        assert_eq!((train.len(), test.len()), (30, 10));
        assert!(train.is_sorted() && test.is_sorted());
        assert!(test.iter().all(|item| !train.contains(item)));
        assert_ne!(BySeed::new(0.25, 4).unwrap().split(0, 40).1, test);
        assert_ne!(BySeed::new(0.25, 3).unwrap().split(1, 40).1, test);
    }

    #[test]
    fn small_classes_have_both_splits_and_single_items_train() {
        let split = |count| BySeed::new(0.01, 0).unwrap().split(0, count);
        assert_eq!(split(0), (vec![], vec![]));
        assert_eq!(split(1), (vec![0], vec![]));
        assert_eq!(split(2).1.len(), 1);
        assert_eq!(BySeed::new(0.99, 0).unwrap().split(0, 2).0.len(), 1);
    }

    #[test]
    fn shares_outside_0_1_are_refused() {
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(BySeed::new(share, 0).is_err(), "{share}");
        }
    }
}
