//! The two classification accuracies.

use crate::bootstrap::Statistic;
use crate::error::{Error, Result, TensorRole};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Accuracies of a set of predictions, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Share of correctly classified samples.
    pub top1: f64,
    /// Share of correctly classified samples in each class, averaged over the classes that have samples.
    pub mean_per_class: f64,
}

impl Accuracy {
    /// Accuracies of `predicted` against `labels`, both (N), int64 in 0..`classes`, N at least 1.
    pub fn new(predicted: &Tensor, labels: &Tensor, classes: i64) -> Accuracy {
        let counts = counts(labels, classes);
        let right = predicted.eq_tensor(labels).to_kind(Kind::Double);
        let right_of_class: Vec<f64> =
            Vec::try_from(labels.bincount(Some(&right), classes).to_device(Device::Cpu))
                .expect("one sum per class");
        let total: i64 = counts.iter().sum();
        let occurring = counts.iter().filter(|&&count| count > 0).count();
        let of_classes = right_of_class.iter().zip(&counts).filter(|&(_, &count)| count > 0);
        let shares = of_classes.map(|(right, &count)| right / count as f64);
        Accuracy {
            top1: right_of_class.iter().sum::<f64>() / total as f64,
            mean_per_class: shares.sum::<f64>() / occurring as f64,
        }
    }
}

/// Largest number of samples times classes for which the mean per class gets a bootstrap, whose sums it holds
/// in memory.
const LARGEST: i64 = 10_000_000;

/// The two accuracies as statistics for a bootstrap, top-1 first; the second only up to 10 million samples
/// times classes. The arguments are those of [`Accuracy::new`].
pub fn accuracy_statistics(
    predicted: &Tensor,
    labels: &Tensor,
    classes: i64,
) -> (Statistic, Option<Statistic>) {
    let right = predicted.eq_tensor(labels).to_kind(Kind::Double);
    let mean_per_class = (labels.size()[0] * classes <= LARGEST).then(|| {
        // (N, C)
        let one_hot = labels.one_hot(classes).to_kind(Kind::Double);
        let terms = Tensor::cat(&[&one_hot, &(&one_hot * right.unsqueeze(1))], 1);
        Statistic::new(terms, move |sums| {
            let (counts, right) = sums.split_at(classes as usize);
            let shares = counts.iter().zip(right).filter(|(count, _)| **count > 0.0).map(|(n, r)| r / n);
            let (sum, occurring) = shares.fold((0.0, 0), |(sum, n), share| (sum + share, n + 1));
            Some(sum / f64::from(occurring))
        })
    });
    (Statistic::mean(&right), mean_per_class)
}

/// Number of samples of each class in `labels` (N).
fn counts(labels: &Tensor, classes: i64) -> Vec<i64> {
    Vec::try_from(labels.bincount(None::<&Tensor>, classes).to_device(Device::Cpu))
        .expect("one count per class")
}

/// Fails if a class in 0..`classes` has no sample in `labels` (N), and names all such classes.
pub(crate) fn every_class_occurs(name: &str, role: TensorRole, labels: &Tensor, classes: i64) -> Result<()> {
    let counts = counts(labels, classes);
    let empty: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] == 0).collect();
    if empty.is_empty() {
        Ok(())
    } else {
        Err(Error::EmptyClasses { name: name.into(), role, found: list(&empty), classes: counts.len() })
    }
}

/// The first ten classes, and the number of further ones.
fn list(classes: &[usize]) -> String {
    let shown: Vec<String> = classes.iter().take(10).map(usize::to_string).collect();
    let more = if classes.len() > 10 { format!(" and {} more", classes.len() - 10) } else { String::new() };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// By hand: 2 of 3 samples are correct in class 0, 0 of 1 in class 1, and 1 of 1 in class 2.
    #[test]
    fn accuracies_by_hand() {
        let labels = test_tensor(&[0i64, 0, 0, 1, 2]);
        let predicted = test_tensor(&[0i64, 0, 2, 2, 2]);
        let found = Accuracy::new(&predicted, &labels, 3);
        assert_eq!(found.top1, 3.0 / 5.0);
        assert!((found.mean_per_class - (2.0 / 3.0 + 0.0 + 1.0) / 3.0).abs() < 1e-15);
        // a class without samples has no accuracy
        assert_eq!(Accuracy::new(&predicted, &labels, 5), found);
        let missing =
            every_class_occurs("pets", TensorRole::TrainTargets, &labels, 5).unwrap_err().to_string();
        assert!(missing.contains("pets") && missing.contains("3, 4"), "{missing}");
    }

    /// Class 2 has no sample: it is left out of the mean per class.
    #[test]
    fn the_statistics_are_the_accuracies() {
        let labels = test_tensor(&[0i64, 0, 0, 1, 3, 3]);
        let predicted = test_tensor(&[0i64, 0, 1, 1, 3, 2]);
        let expected = Accuracy::new(&predicted, &labels, 4);
        let (top1, mean_per_class) = accuracy_statistics(&predicted, &labels, 4);
        assert_eq!(top1.value(), Some(expected.top1));
        assert!((mean_per_class.unwrap().value().unwrap() - expected.mean_per_class).abs() < 1e-12);
        let many = Tensor::zeros([20_000], (Kind::Int64, test_device()));
        assert!(accuracy_statistics(&many, &many, 1000).1.is_none());
    }
}
