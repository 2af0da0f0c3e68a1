//! Pairs of views as probes read them: the features of both views, and the transformation from the first view
//! to the second.

use std::rc::Rc;

use eqr_probes::bootstrap::Objects;
use eqr_probes::redraw::{PairDraw, Redraw, TargetOfPairs};
use tch::Tensor;

use crate::encoder::representation::Representation;
use crate::registry::Readout;
use crate::suite_file::probe::ReadoutHalf;

/// Training and test pairs of one task.
pub struct PairSet {
    /// Name of the task.
    pub task: String,
    /// Whether the pairs differ by all transforms at once.
    pub combined: bool,
    /// Pairs that probes are fitted to.
    pub train: PairFeatures,
    /// Pairs that probes are scored on.
    pub test: PairFeatures,
    /// Further pairs that they are scored on, from ranges that they were not trained on.
    pub shifted: Option<PairFeatures>,
}

/// The pairs of one split.
pub struct PairFeatures {
    /// (N, 2 D): y of both views.
    pub y: Tensor,
    /// (N, 2 D + 8 D'): y and quadrant means of both views, if the encoder has a token map.
    pub grid: Option<Tensor>,
    /// (N, k): the parameters of the transformation from the first view to the second.
    pub target: Tensor,
    /// The object or photograph of each pair.
    pub objects: Objects,
    /// How the pairs of later epochs are drawn; `None` if all epochs have these pairs.
    pub redrawn: Option<RedrawnPairs>,
}

/// Pairs of images that are drawn anew for each epoch of a probe.
pub struct RedrawnPairs {
    /// Representations of the images.
    pub(super) images: Representation,
    /// Draws the pairs of an epoch, with the parameters of all tasks.
    pub(super) draw: PairDraw,
    /// The task's first column among the parameters.
    pub(super) start: i64,
    /// Number of columns of the task.
    pub(super) outputs: i64,
}

impl RedrawnPairs {
    /// The pairs as a readout reads them. `target` changes the task's parameters into what is predicted.
    pub(super) fn redraw(&self, readout: Readout, target: TargetOfPairs) -> Redraw {
        let RedrawnPairs { images, draw, start, outputs } = self;
        let half = images.y.size()[1] / 2;
        let images = match readout {
            Readout::Y => images.y.shallow_clone(),
            Readout::Invariant => images.y.narrow(1, 0, half),
            Readout::Equivariant => images.y.narrow(1, half, half),
            Readout::Grid => images.grid.as_ref().expect("the encoder has a token map").shallow_clone(),
        };
        let (start, outputs) = (*start, *outputs);
        let target = move |parameters: &Tensor, epoch: u64| {
            target(&parameters.narrow(1, start, outputs).contiguous(), epoch)
        };
        Redraw { images, pairs: draw.clone(), target: Rc::new(target) }
    }
}

impl PairSet {
    /// Whether the encoder has a token map.
    pub fn has_grid(&self) -> bool {
        self.train.grid.is_some() && self.test.grid.is_some()
    }
}

impl PairFeatures {
    /// Pairs of `objects` from the representations of N first and N second views, with targets (N, k).
    pub(super) fn new(
        first: &Representation,
        second: &Representation,
        target: &Tensor,
        objects: &Objects,
    ) -> PairFeatures {
        let beside = |first: &Tensor, second: &Tensor| Tensor::cat(&[first, second], 1);
        let grids = first.grid.as_ref().zip(second.grid.as_ref());
        PairFeatures {
            y: beside(&first.y, &second.y),
            grid: grids.map(|(first, second)| beside(first, second)),
            target: target.shallow_clone(),
            objects: objects.clone(),
            redrawn: None,
        }
    }

    /// The same features with other targets. The feature tensors are shared, not copied.
    pub(super) fn with_target(&self, target: Tensor) -> PairFeatures {
        let grid = self.grid.as_ref().map(Tensor::shallow_clone);
        PairFeatures { y: self.y.shallow_clone(), grid, target, objects: self.objects.clone(), redrawn: None }
    }

    /// The features that a readout reads, (N, columns of both views).
    ///
    /// # Panics
    /// If `readout` is [`Readout::Grid`] and the features have no token map.
    pub(super) fn read(&self, readout: Readout) -> Tensor {
        let half = self.y.size()[1] / 4;
        let half_from = |from: i64| {
            Tensor::cat(&[self.y.narrow(1, from, half), self.y.narrow(1, 2 * half + from, half)], 1)
        };
        match readout {
            Readout::Y => self.y.shallow_clone(),
            Readout::Invariant => half_from(0),
            Readout::Equivariant => half_from(half),
            Readout::Grid => self.grid.as_ref().expect("the encoder has a token map").shallow_clone(),
        }
    }
}

impl From<ReadoutHalf> for Readout {
    fn from(half: ReadoutHalf) -> Readout {
        match half {
            ReadoutHalf::All => Readout::Y,
            ReadoutHalf::Inv => Readout::Invariant,
            ReadoutHalf::Equi => Readout::Equivariant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_taken_from_both_views() {
        let view =
            |start: f32| Tensor::from_slice(&[start, start + 1.0, start + 2.0, start + 3.0]).view([1, 4]);
        let [first, second] = [view(0.0), view(10.0)].map(|y| Representation { y, grid: None });
        let target = Tensor::zeros([1, 1], (tch::Kind::Float, tch::Device::Cpu));
        let pairs = PairFeatures::new(&first, &second, &target, &Objects::of_rows(1));
        let read = |readout| Vec::<f32>::try_from(pairs.read(readout).reshape([-1])).unwrap();
        assert_eq!(read(Readout::Y), [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
        assert_eq!(read(Readout::Invariant), [0.0, 1.0, 10.0, 11.0]);
        assert_eq!(read(Readout::Equivariant), [2.0, 3.0, 12.0, 13.0]);
        assert!(pairs.grid.is_none());
    }
}
