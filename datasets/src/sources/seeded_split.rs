//! A random test split for sources without splits.

use rand::seq::SliceRandom;

use super::source::Options;
use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};

/// Samples with their labels.
type Labelled<T> = Vec<(T, i32)>;

/// Test share and seed of a random split.
#[derive(Clone, Copy)]
pub(super) struct SeededSplit {
    test_fraction: f64,
    seed: u64,
}

impl SeededSplit {
    /// The split that `options` specify.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a test share outside (0, 1).
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let &Options { test_fraction, seed, .. } = options;
        check_test_fraction(test_fraction)?;
        Ok(Self { test_fraction, seed })
    }

    /// Positions of the training and test samples among the `count` samples of class `label`, both ascending.
    /// With two or more samples, neither list is empty.
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

    /// Splits each class. The samples of class `label` are at position `label` of `classes`. Returns training
    /// and test samples with their labels.
    pub(super) fn split_classes<'c, T: Copy + 'c>(
        self,
        classes: impl IntoIterator<Item = &'c [T]>,
    ) -> (Labelled<T>, Labelled<T>) {
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (label, samples) in classes.into_iter().enumerate() {
            let (in_train, in_test) = self.split(label, samples.len());
            let labelled = |position: usize| (samples[position], label as i32);
            train.extend(in_train.into_iter().map(labelled));
            test.extend(in_test.into_iter().map(labelled));
        }
        (train, test)
    }

    /// The entry for the provenance.
    pub(super) fn note(self) -> serde_json::Value {
        serde_json::json!({ "test_fraction": self.test_fraction, "seed": self.seed })
    }
}

/// Refuses a test share outside (0, 1).
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_test_fraction(test_fraction: f64) -> Result<()> {
    if test_fraction > 0.0 && test_fraction < 1.0 {
        return Ok(());
    }
    Err(Error::Invalid(format!("the test fraction must be above 0 and below 1, but is {test_fraction}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(test_fraction: f64, seed: u64) -> SeededSplit {
        SeededSplit { test_fraction, seed }
    }

    #[test]
    fn every_sample_is_in_one_split_and_the_seed_draws_which() {
        let (train, test) = split(0.25, 3).split(0, 40);
        assert_eq!((train.len(), test.len()), (30, 10));
        assert!(train.is_sorted() && test.is_sorted());
        assert!(test.iter().all(|item| !train.contains(item)));
        assert_ne!(split(0.25, 4).split(0, 40).1, test);
        assert_ne!(split(0.25, 3).split(1, 40).1, test);
    }

    #[test]
    fn small_classes_have_both_splits_and_single_samples_train() {
        let sizes = |count| split(0.01, 0).split(0, count);
        assert_eq!(sizes(0), (vec![], vec![]));
        assert_eq!(sizes(1), (vec![0], vec![]));
        assert_eq!(sizes(2).1.len(), 1);
        assert_eq!(split(0.99, 0).split(0, 2).0.len(), 1);
    }

    #[test]
    fn shares_outside_0_1_are_refused() {
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(check_test_fraction(share).is_err(), "{share}");
        }
    }
}
