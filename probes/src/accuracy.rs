//! The two classification accuracies.

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

    /// By hand: 2 of 3 samples are correct in class 0, 0 of 1 in class 1, and 1 of 1 in class 2.
    #[test]
    fn accuracies_by_hand() {
        let labels = Tensor::from_slice(&[0i64, 0, 0, 1, 2]);
        let predicted = Tensor::from_slice(&[0i64, 0, 2, 2, 2]);
        let found = Accuracy::new(&predicted, &labels, 3);
        assert_eq!(found.top1, 3.0 / 5.0);
        assert!((found.mean_per_class - (2.0 / 3.0 + 0.0 + 1.0) / 3.0).abs() < 1e-15);
        // a class without samples has no accuracy
        assert_eq!(Accuracy::new(&predicted, &labels, 5), found);
        let missing =
            every_class_occurs("pets", TensorRole::TrainTargets, &labels, 5).unwrap_err().to_string();
        assert!(missing.contains("pets") && missing.contains("3, 4"), "{missing}");
    }
}
