//! Makes the pairs of every task from an encoder: two renders of an object, or a photograph and its
//! transformation.

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_datasets::transforms::{FirstView, Shift, Transform};
use eqr_probes::bootstrap::Objects;
use tch::Tensor;

use crate::console::counted;
use crate::data::pairs::{PairSource, ViewDraw};
use crate::encoder::gathered::Gathered;
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
        let train = Renders::encode(encoder, self.train, self.train_draws())?;
        let test = Renders::encode(encoder, self.test, self.test_draws())?;
        let pairs = |renders: &Renders| {
            let (first, second, parameters) = renders.first_epoch();
            self.split_by_task(&PairFeatures::new(&first, &second, &parameters, &renders.objects()))
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
        let shift_of =
            |transform: Transform| self.probe.shift.as_ref().filter(|shift| shift.shifts(transform));
        let mut views = vec![View::First];
        views.extend(active.iter().map(|transform| View::Second(std::slice::from_ref(transform))));
        views.extend(combined.then_some(View::Second(active)));
        let shifted = active.iter().filter_map(|&t| Some(View::Shifted(t, shift_of(t)?)));
        let test_views: Vec<View> = views.iter().copied().chain(shifted).collect();
        let mut train = Photographs::training(self).pairs(encoder, &views)?;
        let mut test = Photographs::test(self).pairs(encoder, &test_views)?;

        let mut shifted = test.split_off(views.len() - 1).into_iter();
        let all = combined.then(|| (train.pop(), test.pop()));
        let mut sets: Vec<PairSet> = Vec::new();
        for ((&transform, train), test) in active.iter().zip(train).zip(test) {
            let shifted = shift_of(transform).and_then(|_| shifted.next());
            sets.push(PairSet { task: transform.name().to_owned(), combined: false, train, test, shifted });
        }
        if let Some((Some(train), Some(test))) = all {
            sets.extend(self.joined(self.split_by_task(&train), self.split_by_task(&test), true));
        }
        Ok(sets)
    }

    /// The same pairs for every task, with the task's columns of the parameters as targets.
    fn split_by_task(&self, all: &PairFeatures) -> Vec<PairFeatures> {
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

/// A view of photographs.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    /// View 1.
    First,
    /// View 2, made by these transforms.
    Second(&'a [Transform]),
    /// View 2, made by this transform from the ranges of a shift.
    Shifted(Transform, &'a Shift),
}

/// Photographs of a split, of which pairs are drawn one draw after the other.
pub(super) struct Photographs<'a> {
    source: &'a PairSource,
    units: Vec<usize>,
    seed: u64,
}

impl<'a> Photographs<'a> {
    /// Those that probes are fitted to.
    pub(super) fn training(evaluation: &Evaluation<'a>) -> Photographs<'a> {
        let units = evaluation.train_photographs();
        Photographs { source: evaluation.train, units, seed: TRAIN_PAIRS_SEED }
    }

    /// Those that probes are scored on.
    pub(super) fn test(evaluation: &Evaluation<'a>) -> Photographs<'a> {
        let units = evaluation.test_photographs();
        Photographs { source: evaluation.test, units, seed: TEST_PAIRS_SEED }
    }

    /// The photograph of each pair, draw after draw.
    fn objects(&self) -> Objects {
        let of_draw = || self.units.iter().map(|&unit| unit as i64);
        Objects::new(&(0..DRAWS).flat_map(|_| of_draw()).collect::<Vec<_>>())
    }

    /// Pairs of the first of `views`, which is view 1, with each of the others.
    fn pairs(&self, encoder: &dyn FeatureEncoder, views: &[View]) -> Result<Vec<PairFeatures>> {
        let mut seen = self.seen(encoder, views)?.into_iter();
        let (first, _) = seen.next().expect("view 1");
        let objects = self.objects();
        Ok(seen.map(|(second, target)| PairFeatures::new(&first, &second, &target, &objects)).collect())
    }

    /// Representations of each of `views`, with the parameters of its transforms (N, k): none for view 1. A
    /// photograph is read, and its view 1 cut, once for all views.
    pub(super) fn seen(
        &self,
        encoder: &dyn FeatureEncoder,
        views: &[View],
    ) -> Result<Vec<(Representation, Tensor)>> {
        let rows = DRAWS as usize * self.units.len();
        let mut seen: Vec<(Gathered, Vec<Tensor>)> =
            views.iter().map(|_| (Gathered::new(rows), Vec::new())).collect();
        for (epoch, units) in counted(ENCODING, batches(&self.units).into_iter()) {
            let draw = ViewDraw { seed: self.seed, epoch, units };
            let view1 = self.source.first_views(self.seed, epoch, units)?;
            for (view, (all, parameters)) in views.iter().zip(&mut seen) {
                let (images, of_batch) = self.view(&view1, draw, *view);
                all.push(&encoder.represent(&images)?);
                parameters.push(of_batch);
            }
        }
        Ok(seen.into_iter().map(|(all, parameters)| (all.finish(), Tensor::cat(&parameters, 0))).collect())
    }

    /// The images of a view, normalised, and the parameters of its transforms.
    fn view(&self, view1: &FirstView, draw: ViewDraw, view: View) -> (Tensor, Tensor) {
        let ViewDraw { seed, epoch, units } = draw;
        match view {
            View::First => {
                let images = self.source.normalise(&view1.pixels());
                let none = images.new_empty([units.len() as i64, 0], (images.kind(), images.device()));
                (images, none)
            }
            View::Second(transforms) => self.source.second_views(view1, seed, epoch, units, transforms),
            View::Shifted(transform, shift) => self.source.shifted_views(view1, draw, transform, shift),
        }
    }
}
