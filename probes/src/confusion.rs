//! Confusion matrix over a whole set of segmentations, and scores computed from it (protocol section 6).

use crate::checks::{expect_shape, wrong_shape};
use crate::error::{Error, Result, TensorRole};
use eqr_models::Collective;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Number of pixels for each true and predicted class. The matrices of parts of a set, or of several ranks,
/// can be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// (C, C), row by row: true class, then predicted class.
    pixels: Vec<u64>,
}

/// Scores of one class, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Intersection over union. `None` if the class is neither in the ground truth nor predicted, and 0 if it
    /// is predicted but not in the ground truth.
    pub iou: Option<f64>,
    /// Share of the class's pixels that are classified correctly. `None` if it has no pixels.
    pub accuracy: Option<f64>,
    /// Number of its pixels in the ground truth.
    pub pixels: u64,
}

/// Scores of a set, each in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentationScore {
    /// Mean intersection over union of the classes that have one.
    #[serde(rename = "mIoU")]
    pub miou: f64,
    /// Mean accuracy of the classes that have one.
    #[serde(rename = "mAcc")]
    pub macc: f64,
    /// Share of all pixels that are classified correctly.
    #[serde(rename = "aAcc")]
    pub aacc: f64,
    /// Scores of each class.
    pub classes: Vec<ClassScore>,
}

impl Confusion {
    /// An empty matrix for `classes` classes.
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, pixels: vec![0; classes * classes] }
    }

    /// Adds the pixels of a prediction. Both tensors hold integers of any kind in 0..C and have the same
    /// shape, which can be any. Pixels whose ground truth is `void` are ignored.
    ///
    /// # Errors
    /// Fails if the shapes differ, a tensor does not hold integers, or a class is outside 0..C.
    pub fn add(&mut self, predicted: &Tensor, truth: &Tensor, void: i64) -> Result<()> {
        const NAME: &str = "segmentation";
        for (role, t) in [(TensorRole::Predictions, predicted), (TensorRole::Targets, truth)] {
            if !matches!(t.kind(), Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64) {
                return Err(wrong_shape(NAME, role, t, format!("integers, not {:?}", t.kind())));
            }
        }
        expect_shape(NAME, TensorRole::Predictions, predicted, &truth.size())?;
        tch::no_grad(|| {
            let truth = truth.to_kind(Kind::Int64).reshape([-1]);
            let counted = truth.not_equal(void);
            let truth = truth.masked_select(&counted);
            let predicted = predicted.to_kind(Kind::Int64).reshape([-1]).masked_select(&counted);
            if truth.numel() == 0 {
                return Ok(());
            }
            let classes = self.classes as i64;
            for (role, t) in [(TensorRole::Predictions, &predicted), (TensorRole::Targets, &truth)] {
                let (min, max) = (t.min().int64_value(&[]), t.max().int64_value(&[]));
                if min < 0 || max >= classes {
                    return Err(Error::Labels { name: NAME.into(), role, min, max, classes });
                }
            }
            let counts = (truth * classes + predicted).bincount(None::<&Tensor>, classes * classes);
            let counts: Vec<i64> = Vec::try_from(counts.to_device(Device::Cpu)).expect("one count per cell");
            self.pixels.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count as u64);
            Ok(())
        })
    }

    /// Adds the pixels of another part of the set.
    ///
    /// # Panics
    /// Panics if the other matrix has a different number of classes.
    pub fn merge(&mut self, other: &Confusion) {
        assert_eq!(self.classes, other.classes, "matrices have different numbers of classes");
        self.pixels.iter_mut().zip(&other.pixels).for_each(|(sum, count)| *sum += count);
    }

    /// Replaces the matrix on every rank with the sum of all ranks' matrices.
    pub fn sum_over(&mut self, ranks: &dyn Collective) {
        // f64 is exact up to 2^53, and every collective supports it
        let counts: Vec<f64> = self.pixels.iter().map(|&count| count as f64).collect();
        let mut sum = Tensor::from_slice(&counts);
        ranks.all_reduce_sum(&mut sum);
        let sums: Vec<f64> = Vec::try_from(sum).expect("one sum per cell");
        self.pixels = sums.into_iter().map(|count| count as u64).collect();
    }

    /// (C, C) counts, row by row: true class, then predicted class.
    pub fn pixels(&self) -> &[u64] {
        &self.pixels
    }

    /// The scores.
    ///
    /// # Errors
    /// Fails if no pixel was added, because all masks are void.
    pub fn score(&self) -> Result<SegmentationScore> {
        let total: u64 = self.pixels.iter().sum();
        if total == 0 {
            return Err(Error::Empty { what: "pixel that is not void" });
        }
        let cell = |truth: usize, predicted: usize| self.pixels[truth * self.classes + predicted];
        let class = |c: usize| {
            let pixels: u64 = (0..self.classes).map(|other| cell(c, other)).sum();
            let predicted: u64 = (0..self.classes).map(|other| cell(other, c)).sum();
            let share = |pixels: u64| (pixels > 0).then(|| cell(c, c) as f64 / pixels as f64);
            ClassScore { iou: share(pixels + predicted - cell(c, c)), accuracy: share(pixels), pixels }
        };
        let classes: Vec<ClassScore> = (0..self.classes).map(class).collect();
        let right: u64 = (0..self.classes).map(|c| cell(c, c)).sum();
        Ok(SegmentationScore {
            miou: mean(classes.iter().filter_map(|class| class.iou)),
            macc: mean(classes.iter().filter_map(|class| class.accuracy)),
            aacc: right as f64 / total as f64,
            classes,
        })
    }
}

/// Mean of at least one value. There is one because a pixel was added, whose class has both scores.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_tensor;

    const VOID: i64 = 255;

    fn map(values: &[u8]) -> Tensor {
        test_tensor(values).view([2, -1])
    }

    /// By hand, with all edge cases: classes 0 and 1 are confused, class 2 is predicted but not in the ground
    /// truth, class 3 is in the ground truth but never predicted, class 4 does not occur, and void pixels
    /// have arbitrary predictions. mmsegmentation and scikit-learn's jaccard_score give the same for classes
    /// 0, 1, 3.
    #[test]
    fn scores_by_hand() {
        let mut confusion = Confusion::new(5);
        let truth = map(&[0, 0, 0, 1, 1, 3, 255, 255]);
        let predicted = map(&[0, 0, 1, 1, 2, 0, 2, 7]);
        confusion.add(&predicted, &truth, VOID).unwrap();
        let score = confusion.score().unwrap();
        let iou: Vec<Option<f64>> = score.classes.iter().map(|class| class.iou).collect();
        assert_eq!(iou, [Some(2.0 / 4.0), Some(1.0 / 3.0), Some(0.0), Some(0.0), None]);
        let accuracy: Vec<Option<f64>> = score.classes.iter().map(|class| class.accuracy).collect();
        assert_eq!(accuracy, [Some(2.0 / 3.0), Some(0.5), None, Some(0.0), None]);
        assert!((score.miou - (0.5 + 1.0 / 3.0) / 4.0).abs() < 1e-15);
        assert!((score.macc - (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-15);
        assert_eq!(score.aacc, 0.5);
    }

    /// The score uses one matrix over the whole set, not a mean over images, so the matrices of parts add up.
    #[test]
    fn parts_add_up() {
        let (truth, predicted) = (map(&[0, 1, 2, 0, 2, 2, 1, 0]), map(&[0, 1, 1, 0, 2, 0, 1, 2]));
        let mut whole = Confusion::new(3);
        whole.add(&predicted, &truth, VOID).unwrap();
        let mut parts = Confusion::new(3);
        for row in 0..2 {
            let mut part = Confusion::new(3);
            part.add(&predicted.get(row), &truth.get(row).to_kind(Kind::Int64), VOID).unwrap();
            parts.merge(&part);
        }
        assert_eq!(whole, parts);
        assert_eq!(whole.pixels().iter().sum::<u64>(), 8);
    }

    #[test]
    fn void_only_and_classes_that_are_none_are_refused() {
        let mut confusion = Confusion::new(3);
        confusion.add(&map(&[0, 9]), &map(&[255, 255]), VOID).unwrap();
        assert!(matches!(confusion.score(), Err(Error::Empty { what: "pixel that is not void" })));
        let refused = |predicted: &[u8], truth: &[u8]| {
            Confusion::new(3).add(&map(predicted), &map(truth), VOID).unwrap_err()
        };
        assert!(matches!(
            refused(&[0, 3], &[0, 1]),
            Error::Labels { role: TensorRole::Predictions, max: 3, .. }
        ));
        assert!(matches!(refused(&[0, 2], &[0, 7]), Error::Labels { role: TensorRole::Targets, max: 7, .. }));
        assert!(matches!(refused(&[0, 2, 1, 1], &[0, 1]), Error::Shape { .. }));
    }
}
