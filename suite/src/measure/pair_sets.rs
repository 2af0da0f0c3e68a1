//! Makes the pairs of every task from an encoder: two renders of an object, or a photograph and its
//! transformation.

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_datasets::transforms::{FirstView, Shift, Transform};
use eqr_probes::bootstrap::Objects;
use tch::Tensor;

use crate::console::counted;
use crate::data::pairs::{PairSource, ViewDraw};
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::measure::evaluation::{DRAWS, ENCODING, Evaluation, TEST_PAIRS_SEED, TRAIN_PAIRS_SEED, batches};
use crate::measure::pair_features::{PairFeatures, PairSet};
use crate::measure::render_pairs::Renders;
use crate::suite_file::tasks::EquivarianceTask;

impl Evaluation<'_> {
    /// The pairs of every task. With `combined`, photographs also have pairs that differ by all transforms at
    /// once.
    ///
    /// # Errors
    /// Images that cannot be read, an encoder that fails.
    pub fn pair_sets(&self, encoder: &dyn FeatureEncoder, combined: bool) -> Result<Vec<PairSet>> {
        match self.pack.kind {
            SetKind::Renders => self.render_sets(encoder),
            SetKind::Photographs => self.photograph_sets(encoder, combined),
        }
    }

    /// All tasks share the same pairs. Those of the training split are drawn anew for each epoch of a probe.
    fn render_sets(&self, encoder: &dyn FeatureEncoder) -> Result<Vec<PairSet>> {
        let train = Renders::encode(encoder, self.train, self.probe.train_pairs, TRAIN_PAIRS_SEED)?;
        let test = Renders::encode(encoder, self.test, self.probe.test_pairs, TEST_PAIRS_SEED)?;
        let pairs = |renders: &Renders| {
            let (first, second, parameters) = renders.first_epoch();
            self.split_by_task(&first, &second, &parameters, &renders.objects())
        };
        let mut sets = self.joined(pairs(&train), pairs(&test), false);
        let mut start = 0;
        for (set, EquivarianceTask { outputs, .. }) in sets.iter_mut().zip(self.tasks()) {
            set.train.redrawn = Some(train.redrawn(start, outputs));
            start += outputs;
        }
        Ok(sets)
    }

    /// Every task has its own pairs, which differ only by its transform.
    fn photograph_sets(&self, encoder: &dyn FeatureEncoder, combined: bool) -> Result<Vec<PairSet>> {
        let active = &self.transforms.active;
        let train = Photographs::encode(encoder, self.train, self.train_photographs(), TRAIN_PAIRS_SEED)?;
        let test = Photographs::encode(encoder, self.test, self.test_photographs(), TEST_PAIRS_SEED)?;
        let mut sets = Vec::new();
        for transform in active {
            let pairs = |photographs: &Photographs| -> Result<PairFeatures> {
                let (second, target) = photographs.second_views(encoder, &[*transform])?;
                Ok(PairFeatures::new(&photographs.first, &second, &target, &photographs.objects()))
            };
            let photographs = &test;
            let (train, test) = (pairs(&train)?, pairs(&test)?);
            let shift = self.probe.shift.as_ref().filter(|shift| shift.shifts(*transform));
            let shifted = shift.map(|shift| -> Result<PairFeatures> {
                let (second, target) = photographs.shifted_views(encoder, *transform, shift)?;
                Ok(PairFeatures::new(&photographs.first, &second, &target, &photographs.objects()))
            });
            let (task, shifted) = (transform.name().to_owned(), shifted.transpose()?);
            sets.push(PairSet { task, combined: false, train, test, shifted });
        }
        if combined {
            let pairs = |photographs: &Photographs| -> Result<Vec<PairFeatures>> {
                let (second, target) = photographs.second_views(encoder, active)?;
                Ok(self.split_by_task(&photographs.first, &second, &target, &photographs.objects()))
            };
            sets.extend(self.joined(pairs(&train)?, pairs(&test)?, true));
        }
        Ok(sets)
    }

    /// The same pairs for every task, with the task's columns of `parameters` (N, all) as targets.
    fn split_by_task(
        &self,
        first: &Representation,
        second: &Representation,
        parameters: &Tensor,
        objects: &Objects,
    ) -> Vec<PairFeatures> {
        let all = PairFeatures::new(first, second, parameters, objects);
        let mut start = 0;
        let of_task = |task: &EquivarianceTask| {
            let target = all.target.narrow(1, start, task.outputs).contiguous();
            start += task.outputs;
            all.with_target(target)
        };
        self.tasks().iter().map(of_task).collect()
    }

    /// Builds sets from the pairs of both splits, which hold one list of pairs per task.
    fn joined(&self, train: Vec<PairFeatures>, test: Vec<PairFeatures>, combined: bool) -> Vec<PairSet> {
        let splits = train.into_iter().zip(test);
        let set = |(task, (train, test)): (EquivarianceTask, _)| PairSet {
            task: task.name,
            combined,
            train,
            test,
            shifted: None,
        };
        self.tasks().into_iter().zip(splits).map(set).collect()
    }
}

/// Photographs of a split with the representations of their first views, one draw after the other.
pub(super) struct Photographs<'a> {
    source: &'a PairSource,
    units: Vec<usize>,
    seed: u64,
    pub(super) first: Representation,
}

impl<'a> Photographs<'a> {
    pub(super) fn encode(
        encoder: &dyn FeatureEncoder,
        source: &'a PairSource,
        units: Vec<usize>,
        seed: u64,
    ) -> Result<Photographs<'a>> {
        let mut first = Vec::new();
        for (draw, units) in counted(ENCODING, batches(&units).into_iter()) {
            let view1 = source.first_views(seed, draw, units)?;
            first.push(encoder.represent(&source.normalise(&view1.pixels()))?);
        }
        Ok(Photographs { source, units, seed, first: Representation::concatenated(&first) })
    }

    /// The photograph of each pair, draw after draw.
    fn objects(&self) -> Objects {
        let of_draw = || self.units.iter().map(|&unit| unit as i64);
        Objects::new(&(0..DRAWS).flat_map(|_| of_draw()).collect::<Vec<_>>())
    }

    /// Representations of the second views made by `transforms`, and the parameters of the transforms.
    pub(super) fn second_views(
        &self,
        encoder: &dyn FeatureEncoder,
        transforms: &[Transform],
    ) -> Result<(Representation, Tensor)> {
        self.seen(encoder, |view1, ViewDraw { seed, epoch, units }| {
            self.source.second_views(view1, seed, epoch, units, transforms)
        })
    }

    /// Those made by `transform` from the ranges of `shift`.
    fn shifted_views(
        &self,
        encoder: &dyn FeatureEncoder,
        transform: Transform,
        shift: &Shift,
    ) -> Result<(Representation, Tensor)> {
        self.seen(encoder, |view1, draw| self.source.shifted_views(view1, draw, transform, shift))
    }

    /// Representations of the views that `second` makes of first views, with their parameters.
    fn seen(
        &self,
        encoder: &dyn FeatureEncoder,
        second_view: impl Fn(&FirstView, ViewDraw) -> (Tensor, Tensor),
    ) -> Result<(Representation, Tensor)> {
        let (mut second, mut parameters) = (Vec::new(), Vec::new());
        for (epoch, units) in counted(ENCODING, batches(&self.units).into_iter()) {
            let view1 = self.source.first_views(self.seed, epoch, units)?;
            let (view2, target) = second_view(&view1, ViewDraw { seed: self.seed, epoch, units });
            parameters.push(target);
            second.push(encoder.represent(&view2)?);
        }
        Ok((Representation::concatenated(&second), Tensor::cat(&parameters, 0)))
    }
}
