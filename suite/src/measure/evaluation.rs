//! What an encoder is evaluated on: the splits of a data set, and the images and pairs drawn from them.

use anyhow::Result;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::{Pack, SetKind};
use rand::seq::SliceRandom;
use tch::Tensor;

use crate::console::counted;
use crate::data::pairs::PairSource;
use crate::encoder::gathered::Gathered;
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::measure::render_pairs::RenderDraws;
use crate::suite_file::probe::Probe;
use crate::suite_file::tasks::{EquivarianceTask, tasks};
use crate::suite_file::transforms::Transforms;

/// Seeds of the pairs. All methods and pretraining seeds are measured on the same pairs, so that their values
/// can be paired.
pub(super) const TRAIN_PAIRS_SEED: u64 = 0x7e57_0001;

pub(super) const TEST_PAIRS_SEED: u64 = 0x7e57_0002;

/// Number of pairs drawn from each photograph (protocol section 4).
pub(super) const DRAWS: u64 = 2;

/// Label of the progress of encoding.
pub(super) const ENCODING: &str = "encoding, batches of images";

/// Number of images encoded at a time.
pub(super) const ENCODE: usize = 256;

/// A data set and the settings of its probes.
pub struct Evaluation<'a> {
    /// Transforms of photographs.
    pub transforms: &'a Transforms,
    /// How the probes are set up.
    pub probe: &'a Probe,
    /// The data set.
    pub pack: &'a Pack,
    /// Training split.
    pub train: &'a PairSource,
    /// Test split.
    pub test: &'a PairSource,
    /// Whether values get the draws of a bootstrap over test objects, as those of an encoder that exists
    /// once.
    pub resamples: bool,
}

impl Evaluation<'_> {
    /// The equivariance tasks of the data set.
    pub(super) fn tasks(&self) -> Vec<EquivarianceTask> {
        tasks(self.pack.kind, self.transforms)
    }

    /// The photographs from which training pairs are made.
    pub(super) fn train_photographs(&self) -> Vec<usize> {
        photographs(self.train.units(), self.probe.train_pairs, TRAIN_PAIRS_SEED)
    }

    /// The training pairs of renders, drawn anew for each epoch of a probe.
    pub(super) fn train_draws(&self) -> RenderDraws {
        let Probe { train_pairs, regression, .. } = self.probe;
        RenderDraws { count: *train_pairs, seed: TRAIN_PAIRS_SEED, epochs: regression.epochs }
    }

    /// The test pairs of renders.
    pub(super) fn test_draws(&self) -> RenderDraws {
        RenderDraws { count: self.probe.test_pairs, seed: TEST_PAIRS_SEED, epochs: 1 }
    }

    /// Number of images that are encoded for the pairs of every task; `combined` as in
    /// [`Evaluation::pair_sets`].
    pub fn views(&self, combined: bool) -> usize {
        match self.pack.kind {
            SetKind::Renders => {
                self.train_draws().images(self.train).len() + self.test_draws().images(self.test).len()
            }
            SetKind::Photographs => {
                let photographs = self.train_photographs().len() + self.test_photographs().len();
                let active = &self.transforms.active;
                let shifted = self.probe.shift.map_or(0, |shift| shift.transforms().count());
                let ordinary = photographs * (1 + active.len() + usize::from(combined));
                DRAWS as usize * (ordinary + self.test_photographs().len() * shifted)
            }
        }
    }

    /// The photographs from which test pairs are made.
    pub(super) fn test_photographs(&self) -> Vec<usize> {
        photographs(self.test.units(), self.probe.test_pairs, TEST_PAIRS_SEED)
    }
}

/// Random photographs for `pairs` pairs, or all of `units` if there are too few. They depend only on the
/// seed.
fn photographs(units: &[usize], pairs: usize, seed: u64) -> Vec<usize> {
    let mut order = units.to_vec();
    order.shuffle(&mut rng(seed, 0, 0, Purpose::Subset));
    order.truncate(pairs.div_ceil(DRAWS as usize));
    order
}

/// (draw, units) of the batches in which photographs are encoded.
pub(super) fn batches(units: &[usize]) -> Vec<(u64, &[usize])> {
    (0..DRAWS).flat_map(|draw| units.chunks(ENCODE).map(move |batch| (draw, batch))).collect()
}

/// `count` evenly spaced units of `source`, so that all classes are among them.
pub(super) fn evenly_spaced(source: &PairSource, count: usize) -> Vec<usize> {
    let units = source.units();
    (0..count).map(|i| units[i * units.len() / count]).collect()
}

/// Representations of the images `indices` of `source`, without augmentation.
pub(super) fn encode(
    encoder: &dyn FeatureEncoder,
    source: &PairSource,
    indices: &[usize],
) -> Result<Representation> {
    let mut all = Gathered::new(indices.len());
    for batch in counted(ENCODING, indices.chunks(ENCODE)) {
        all.push(&encoder.represent(&source.images(batch)?)?);
    }
    Ok(all.finish())
}

/// Like [`encode`], but returns only y, (N, D).
pub(super) fn encode_y(
    encoder: &dyn FeatureEncoder,
    source: &PairSource,
    indices: &[usize],
) -> Result<Tensor> {
    let mut all = Gathered::new(indices.len());
    for batch in counted(ENCODING, indices.chunks(ENCODE)) {
        let Representation { y, .. } = encoder.represent(&source.images(batch)?)?;
        all.push(&Representation { y, grid: None });
    }
    Ok(all.finish().y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_drawn_without_repetition() {
        let mut chosen = photographs(&[3, 5, 9, 11], 6, 1);
        chosen.sort_unstable();
        chosen.dedup();
        assert!(chosen.len() == 3 && chosen.iter().all(|unit| [3, 5, 9, 11].contains(unit)), "{chosen:?}");
        assert_eq!(photographs(&[3, 5], 18, 1).len(), 2);
    }
}
