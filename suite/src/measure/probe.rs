//! A probe cell: features of a frozen encoder once, then probes on them (protocol section 4).

use anyhow::Result;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::transforms::{Draws, Transform};
use eqr_datasets::{Kind, Pack, view_pairs};
use eqr_probes::linear_classification::{LabelledFeatures, Top1, classify};
use eqr_probes::{Invariance, effective_rank};
use eqr_probes::r2::R2;
use rand::seq::SliceRandom;
use tch::Tensor;

use crate::data::pairs::{PairSource, render_parameters};
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::measure::regression::{self, COMBINED, PairFeatures, Regression};
use crate::run_folder::metric::{Better, MeasuredValue};
use crate::suite_file::suite::{Probe, Transforms};
use crate::suite_file::tasks::tasks;

/// Seeds of the evaluation's pairs: the same pairs for every method and pretraining seed, so that seeds pair.
const TRAIN_PAIRS_SEED: u64 = 0x7e57_0001;

pub(crate) const TEST_PAIRS_SEED: u64 = 0x7e57_0002;

/// Augmentation draws an image of a photograph set (protocol section 4).
const DRAWS: u64 = 2;

/// Images that are encoded at a time.
const ENCODE: usize = 256;

/// Test pairs that representations are compared on, at most.
const COMPARED: usize = 2048;

/// A split with what the probes need of it.
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
}

/// How much of the evaluation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeScope {
    /// Every metric, all probe seeds.
    Full,
    /// Regression probes with one seed: a point of the curve of R2 against steps.
    CurvePoint,
}

impl Evaluation<'_> {
    /// All values of a frozen encoder.
    ///
    /// # Errors
    /// Features that are not finite, and what the probes refuse.
    pub fn run(&self, encoder: &dyn FeatureEncoder, extent: ProbeScope) -> Result<Vec<MeasuredValue>> {
        tch::no_grad(|| {
            let mut values = self.regressions(encoder, extent)?;
            if extent == ProbeScope::Full {
                values.extend(self.geometry(encoder)?);
                values.extend(self.classification(encoder)?);
            }
            Ok(values)
        })
    }

    fn regressions(&self, encoder: &dyn FeatureEncoder, extent: ProbeScope) -> Result<Vec<MeasuredValue>> {
        let sets = self.sets(encoder, extent)?;
        let mut values = regression::values(&sets, self.probe, extent)?;
        if extent == ProbeScope::Full && sets.iter().any(|set| set.suffix == COMBINED) {
            values.extend(self.exact_map()?);
        }
        Ok(values)
    }

    /// Features of the pairs of every task; of photographs also of those that differ by all transforms at once, where that is asked for.
    ///
    /// # Errors
    /// Images that cannot be read, an encoder that fails.
    pub fn sets(&self, encoder: &dyn FeatureEncoder, extent: ProbeScope) -> Result<Vec<Regression>> {
        match self.pack.kind {
            Kind::Renders => self.render_sets(encoder),
            Kind::Photographs => self.photo_sets(encoder, extent),
        }
    }

    /// The ceiling of pairs that differ by all transforms at once: R2 of the best guess from their affine maps.
    fn exact_map(&self) -> Result<Vec<MeasuredValue>> {
        let Transforms { active, ranges, .. } = self.transforms;
        let chosen = subset(self.test.units(), self.probe.test_pairs.div_ceil(DRAWS as usize), TEST_PAIRS_SEED);
        let keys: Vec<u64> = chosen.iter().map(|&unit| unit as u64).collect();
        let draws = (0..DRAWS).flat_map(|draw| Draws::sample(&keys, TEST_PAIRS_SEED, draw, active, ranges).each);
        let draws = Draws { each: draws.collect() };
        let guess = draws.best_guess_from_map(active, ranges);
        let row = |transform: &Transform| {
            let target = |draws: &Draws| {
                Tensor::from_slice(&draws.target(*transform, ranges)).view([-1, transform.dim() as i64])
            };
            let r2 = R2::new(&target(&guess), &target(&draws))?.per_output;
            Ok(r2.map(|r2| regression::value(transform.name(), format!("r2_per_output{COMBINED}_exact"), None, r2)))
        };
        active.iter().filter_map(|transform| row(transform).transpose()).collect()
    }

    /// Renders: the pairs of both tasks are the same.
    fn render_sets(&self, encoder: &dyn FeatureEncoder) -> Result<Vec<Regression>> {
        let side = |source: &PairSource, count: usize, seed: u64| -> Result<Vec<PairFeatures>> {
            let scene = source.scene().expect("renders have scenes");
            let pairs = unit_draws(source.units(), count)
                .flat_map(|(draw, units)| view_pairs(scene.views, seed, draw, units))
                .collect::<Vec<_>>();
            let images = source.indices();
            let features = encode_all(encoder, source, &images)?;
            let side = |which: usize| {
                let row = |image| images.binary_search(&image).expect("pairs are made of the source's units");
                let indices: Vec<i64> = pairs.iter().map(|pair| row(pair[which]) as i64).collect();
                features.select(&Tensor::from_slice(&indices).to_device(features.y.device()))
            };
            let parameters = render_parameters(scene, &pairs).to_device(features.y.device());
            Ok(self.split_tasks(&side(0), &side(1), &parameters))
        };
        let train = side(self.train, self.probe.train_pairs, TRAIN_PAIRS_SEED)?;
        let test = side(self.test, self.probe.test_pairs, TEST_PAIRS_SEED)?;
        Ok(self.join(train, test, ""))
    }

    /// Photographs: pairs that differ by one transform alone, one set a transform, and by all at once where asked for.
    fn photo_sets(&self, encoder: &dyn FeatureEncoder, extent: ProbeScope) -> Result<Vec<Regression>> {
        let active = &self.transforms.active;
        let side = |source, count: usize, seed| -> Result<PhotoSide> {
            let chosen = subset(PairSource::units(source), count.div_ceil(DRAWS as usize), seed);
            let (first, _) = encode_photos(encoder, source, &chosen, seed, None)?;
            Ok(PhotoSide { source, chosen, seed, first })
        };
        let train = side(self.train, self.probe.train_pairs, TRAIN_PAIRS_SEED)?;
        let test = side(self.test, self.probe.test_pairs, TEST_PAIRS_SEED)?;
        let mut sets = Vec::new();
        for transform in active {
            let features = |side: &PhotoSide| -> Result<PairFeatures> {
                let (second, target) = side.second(encoder, &[*transform])?;
                Ok(PairFeatures::of(&side.first, &second, &target))
            };
            let (train, test) = (features(&train)?, features(&test)?);
            sets.push(Regression { task: transform.name().to_owned(), suffix: "", train, test });
        }
        if self.probe.combined && extent == ProbeScope::Full {
            let features = |side: &PhotoSide| -> Result<Vec<PairFeatures>> {
                let (second, target) = side.second(encoder, active)?;
                Ok(self.split_tasks(&side.first, &second, &target))
            };
            sets.extend(self.join(features(&train)?, features(&test)?, COMBINED));
        }
        Ok(sets)
    }

    /// One entry a task, which share the feature tensors. parameters: (N, all).
    fn split_tasks(&self, first: &Representation, second: &Representation, parameters: &Tensor) -> Vec<PairFeatures> {
        let shared = PairFeatures::of(first, second, parameters);
        let mut start = 0;
        let tasks = tasks(self.pack.kind, self.transforms);
        let entry = |(_, length): &(String, i64)| {
            let target = shared.target.narrow(1, start, *length).contiguous();
            start += length;
            let grid = shared.grid.as_ref().map(Tensor::shallow_clone);
            PairFeatures { y: shared.y.shallow_clone(), grid, target }
        };
        tasks.iter().map(entry).collect()
    }

    fn join(&self, train: Vec<PairFeatures>, test: Vec<PairFeatures>, suffix: &'static str) -> Vec<Regression> {
        let tasks = tasks(self.pack.kind, self.transforms);
        let sides = train.into_iter().zip(test);
        tasks
            .into_iter()
            .zip(sides)
            .map(|((task, _), (train, test))| Regression { task, suffix, train, test })
            .collect()
    }

    fn classification(&self, encoder: &dyn FeatureEncoder) -> Result<Vec<MeasuredValue>> {
        let labels = |source: &PairSource, chosen: &[usize]| {
            Tensor::from_slice(&chosen.iter().map(|&i| source.labels()[i]).collect::<Vec<_>>())
        };
        let chosen = match self.pack.kind {
            Kind::Renders => self.train.indices(),
            Kind::Photographs => {
                subset(self.train.units(), self.probe.train_pairs.div_ceil(DRAWS as usize), TRAIN_PAIRS_SEED)
            }
        };
        let all: Vec<usize> = (0..self.test.len()).collect();
        let features =
            |source: &PairSource, chosen: &[usize]| Ok::<_, anyhow::Error>(encode_all(encoder, source, chosen)?.y);
        let train_x = features(self.train, &chosen)?;
        let device = train_x.device();
        let data = LabelledFeatures {
            name: "classification".into(),
            train_x,
            train_y: labels(self.train, &chosen).to_device(device),
            test_x: features(self.test, &all)?,
            test_y: labels(self.test, &all).to_device(device),
            views: self.train.views(),
            classes: self.pack.class_names.len(),
        };
        let seeds: Vec<u64> = (0..self.probe.seeds).collect();
        let scores = classify(&data, &seeds, &self.probe.classification)?;
        Ok(top1(&seeds, &scores))
    }

    /// Measures of y that need no probe, on test pairs made as for training.
    ///
    /// # Errors
    /// Images that cannot be read, an encoder that fails.
    pub fn geometry(&self, encoder: &dyn FeatureEncoder) -> Result<Vec<MeasuredValue>> {
        let units = spread(self.test, self.test.units().len().min(COMPARED));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for units in units.chunks(ENCODE) {
            let pairs = self.test.pairs(TEST_PAIRS_SEED, 0, units)?;
            first.push(encoder.represent(&pairs.view1)?.y);
            second.push(encoder.represent(&pairs.view2)?.y);
        }
        let (first, second) = (Tensor::cat(&first, 0), Tensor::cat(&second, 0));
        let Invariance { own, others, share } = Invariance::from_views(&first, &second)?;
        let rows = [
            ("similarity_own", Some(own), "cosine"),
            ("similarity_others", Some(others), "cosine"),
            ("invariance", share, "fraction"),
            ("effective_rank", Some(effective_rank(&first)), "dimensions"),
        ];
        let row = |(metric, value, unit): (&str, Option<f64>, _)| {
            let (task, metric) = ("representation".to_owned(), metric.to_owned());
            Some(MeasuredValue { task, metric, eval_seed: None, value: value?, unit, better: Better::Higher })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }
}

/// Test accuracies of a classifier with each of the seeds.
pub(crate) fn top1(seeds: &[u64], scores: &[Top1]) -> Vec<MeasuredValue> {
    let row = |(&seed, score): (&u64, &Top1)| MeasuredValue {
        task: "classification".into(),
        metric: "top1".into(),
        eval_seed: Some(seed),
        value: score.test,
        unit: "fraction",
        better: Better::Higher,
    };
    seeds.iter().zip(scores).map(row).collect()
}

/// `count` units of `test` at even distances, so that all classes are among them.
pub(crate) fn spread(test: &PairSource, count: usize) -> Vec<usize> {
    let units = test.units();
    (0..count).map(|i| units[i * units.len() / count]).collect()
}

/// (draw, units) until `count` pairs are drawn, one pair a unit and draw.
fn unit_draws(units: &[usize], count: usize) -> impl Iterator<Item = (u64, &[usize])> {
    let rows = units.len();
    (0..count.div_ceil(rows)).map(move |draw| (draw as u64, &units[..rows.min(count - draw * rows)]))
}

/// `count` of `units`, or all where there are fewer, a function of the seed.
fn subset(units: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut order = units.to_vec();
    order.shuffle(&mut rng(seed, 0, 0, Purpose::Subset));
    order.truncate(count);
    order
}

/// Images `indices` of `source` as `encoder` represents them.
fn encode_all(encoder: &dyn FeatureEncoder, source: &PairSource, indices: &[usize]) -> Result<Representation> {
    let parts = indices.chunks(ENCODE).map(|part| encoder.represent(&source.images(part)?));
    Ok(Representation::concatenated(&parts.collect::<Result<Vec<_>>>()?))
}

/// The chosen photographs of a split with the features of their first views.
struct PhotoSide<'a> {
    source: &'a PairSource,
    chosen: Vec<usize>,
    seed: u64,
    first: Representation,
}

impl PhotoSide<'_> {
    /// Features of second views made by `transforms`, and their parameters.
    fn second(&self, encoder: &dyn FeatureEncoder, transforms: &[Transform]) -> Result<(Representation, Tensor)> {
        let (features, parameters) = encode_photos(encoder, self.source, &self.chosen, self.seed, Some(transforms))?;
        Ok((features, parameters.expect("second views have parameters")))
    }
}

/// Representations of first views (`transforms` none) or of second views with their parameters, all draws of the chosen images.
fn encode_photos(
    encoder: &dyn FeatureEncoder,
    source: &PairSource,
    chosen: &[usize],
    seed: u64,
    transforms: Option<&[Transform]>,
) -> Result<(Representation, Option<Tensor>)> {
    let (mut features, mut parameters) = (Vec::new(), Vec::new());
    for draw in 0..DRAWS {
        for units in chosen.chunks(ENCODE) {
            let view1 = source.first_views(seed, draw, units)?;
            let images = match transforms {
                None => source.normalise(&view1.pixels()),
                Some(active) => {
                    let (view2, target) = source.second_views(&view1, seed, draw, units, active);
                    parameters.push(target);
                    view2
                }
            };
            features.push(encoder.represent(&images)?);
        }
    }
    let parameters = (!parameters.is_empty()).then(|| Tensor::cat(&parameters, 0));
    Ok((Representation::concatenated(&features), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_drawn_of_the_units_at_hand_alone() {
        let draws: Vec<(u64, Vec<usize>)> =
            unit_draws(&[3, 5, 9], 7).map(|(draw, units)| (draw, units.to_vec())).collect();
        assert_eq!(draws, [(0, vec![3, 5, 9]), (1, vec![3, 5, 9]), (2, vec![3])]);
        let mut chosen = subset(&[3, 5, 9, 11], 3, 1);
        chosen.sort_unstable();
        chosen.dedup();
        assert!(chosen.len() == 3 && chosen.iter().all(|unit| [3, 5, 9, 11].contains(unit)), "{chosen:?}");
        assert_eq!(subset(&[3, 5], 9, 1).len(), 2);
    }
}
