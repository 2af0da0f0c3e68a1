//! Training pairs that are drawn anew in every epoch of the MLP probe.

use std::rc::Rc;

use crate::checks::{expect_shape, finite, matrix};
use crate::error::{Result, TensorRole};
use tch::Tensor;

/// The pairs of one epoch, N in every epoch.
pub struct EpochPairs {
    /// Row of each pair's first image, (N), int64.
    pub first: Tensor,
    /// Row of each pair's second image, (N), int64.
    pub second: Tensor,
    /// Parameters of the transformation from the first image to the second, (N, K).
    pub parameters: Tensor,
}

/// Draws the pairs of an epoch, a function of the epoch alone.
pub type PairDraw = Rc<dyn Fn(u64) -> EpochPairs>;

/// Picks a problem's targets (N, k) from the parameters (N, K) of an epoch's pairs.
pub type TargetOfPairs = Rc<dyn Fn(&Tensor, u64) -> Tensor>;

/// How a problem's training pairs are drawn anew. The features of every image are held once.
pub struct Redraw {
    /// Features of the images, (I, D / 2).
    pub images: Tensor,
    /// Draws the pairs. Problems that share it, share the pairs of an epoch.
    pub pairs: PairDraw,
    /// Picks the targets.
    pub target: TargetOfPairs,
}

impl Redraw {
    /// The same pairs, on the same tensor.
    pub fn shallow_clone(&self) -> Redraw {
        let Redraw { images, pairs, target } = self;
        Redraw { images: images.shallow_clone(), pairs: pairs.clone(), target: target.clone() }
    }

    /// Features of both images of every pair side by side, (N, D).
    pub fn features(&self, pairs: &EpochPairs) -> Tensor {
        let view = |rows: &Tensor| self.images.index_select(0, rows);
        Tensor::cat(&[view(&pairs.first), view(&pairs.second)], 1)
    }

    /// Targets of the pairs of `epoch`, (N, k).
    pub fn targets(&self, pairs: &EpochPairs, epoch: u64) -> Tensor {
        (self.target)(&pairs.parameters, epoch)
    }

    /// Checks that the images have half as many `features` as the pairs, all finite.
    pub(crate) fn check(&self, name: &str, features: i64) -> Result<()> {
        let (images, _) = matrix(name, TensorRole::TrainFeatures, &self.images)?;
        expect_shape(name, TensorRole::TrainFeatures, &self.images, &[images, features / 2])?;
        finite(name, TensorRole::TrainFeatures, &self.images)
    }
}
