//! The X-ray on renders: all transformations are read from the same pairs of views.

use std::rc::Rc;

use anyhow::Result;
use eqr_probes::bootstrap::Objects;
use eqr_probes::quaternion;
use eqr_probes::redraw::{EpochPairs, PairDraw};
use tch::{Device, Kind, Tensor};

use crate::data::pairs::PairSource;
use crate::encoder::layer::{Layer, LayeredEncoder};
use crate::measure::evaluation::{Evaluation, TEST_PAIRS_SEED, TRAIN_PAIRS_SEED};
use crate::measure::render_pairs::{self, RenderDraws};
use crate::measure::xray::classes::{self, Labelled};
use crate::measure::xray::held::{self, Probes};
use crate::measure::xray::predictions::Splits;
use crate::measure::xray::sensitivity;
use crate::measure::xray::spots::{LayerPairs, View};
use crate::measure::xray::views::{distinct, of_images, places};
use crate::run_folder::xray::Xray;
use crate::suite_file::probe::Probe;
use crate::suite_file::tasks::EquivarianceTask;
use crate::suite_file::xray::XrayProbe;

/// Pairs of a split, with their images seen by every layer.
struct Renders {
    images: Vec<Layer>,
    /// Rows of both views of each pair.
    rows: [Tensor; 2],
    /// (N, k)
    parameters: Tensor,
    /// The object of each pair.
    objects: Objects,
    /// Rows of the images that these pairs are of.
    used: Tensor,
    /// Class of each of them.
    labels: Vec<i64>,
    /// Object of each of them.
    objects_of_images: Objects,
    /// Draws the pairs of later epochs, if there are any.
    redrawn: Option<PairDraw>,
}

pub(super) fn measure(encoder: &dyn LayeredEncoder, evaluation: &Evaluation, probes: Probes) -> Result<Xray> {
    let [train_pairs, test_pairs] = [evaluation.probe.train_pairs, evaluation.probe.test_pairs];
    let redrawn = probes.kind.has_mlp();
    let train = Renders::encode(encoder, evaluation.train, train_pairs, TRAIN_PAIRS_SEED, redrawn)?;
    let test = Renders::encode(encoder, evaluation.test, test_pairs, TEST_PAIRS_SEED, false)?;
    let mut readings = classes::ranks(&test.images);
    if evaluation.pack.has_labels() {
        let count = evaluation.pack.class_names.len();
        let [of_train, of_test] = [&train, &test].map(Renders::labelled);
        readings.extend(classes::neighbours(&of_train, &of_test, &test.objects_of_images, count));
    }
    let tasks = evaluation.tasks();
    let (of_train, of_test) = (train.pairs(), test.pairs());
    held::say_perceptrons(&of_train, &tasks, probes);
    readings.extend(held::measure(Splits { train: &of_train, test: &of_test, tasks: &tasks }, probes)?);
    readings.extend(sensitivity::of_pairs(&of_test, &distances(&test.parameters, &tasks)));
    let [train_pairs, test_pairs] = [&train, &test].map(|split| split.objects.rows());
    Ok(Xray { train_pairs, test_pairs, test_objects: test.objects.count(), readings })
}

/// Number of images that are encoded, at most. Perceptrons see all training images in the end.
pub(super) fn images(evaluation: &Evaluation, probe: XrayProbe) -> usize {
    let Evaluation { train, test, probe: Probe { train_pairs, test_pairs, .. }, .. } = evaluation;
    let all = |split: &PairSource| split.units().len() * split.views();
    let of_train = if probe.has_mlp() { all(train) } else { all(train).min(2 * train_pairs) };
    of_train + all(test).min(2 * test_pairs)
}

impl Renders {
    /// The pairs of the first epoch of `probe`, of which every image is encoded once. If pairs are `redrawn`
    /// in later epochs, all images of the split are encoded.
    fn encode(
        encoder: &dyn LayeredEncoder,
        source: &PairSource,
        count: usize,
        seed: u64,
        redrawn: bool,
    ) -> Result<Renders> {
        let all: Rc<[usize]> = source.indices().into();
        let draw = |device| {
            let draws = RenderDraws { count, seed, epochs: 1 };
            render_pairs::draw(source.share(), draws, all.clone(), device)
        };
        let EpochPairs { first, second, parameters } = draw(Device::Cpu)(0);
        let [first, second] = [first, second].map(|rows| Vec::<i64>::try_from(rows).expect("one row a pair"));
        let used = distinct(&[&first[..], &second].concat());
        let seen = if redrawn { (0..all.len() as i64).collect() } else { used.clone() };
        let numbers = |rows: &[i64]| rows.iter().map(|&row| all[row as usize]).collect::<Vec<usize>>();
        let images = of_images(encoder, source, &numbers(&seen))?;
        let device = images[0].readouts[0].1.device();
        let rows = |of: &[i64]| Tensor::from_slice(&places(&seen, of)).to_device(device);
        let views = source.views() as i64;
        let objects = |rows: &[i64]| Objects::new(&rows.iter().map(|row| row / views).collect::<Vec<_>>());
        Ok(Renders {
            images,
            rows: [rows(&first), rows(&second)],
            parameters: parameters.to_device(device),
            objects: objects(&first),
            used: rows(&used),
            labels: numbers(&used).into_iter().map(|image| source.labels()[image]).collect(),
            objects_of_images: objects(&used),
            redrawn: redrawn.then(|| draw(device)),
        })
    }

    fn pairs(&self) -> LayerPairs<'_> {
        let [first, second] =
            self.rows.each_ref().map(|rows| View { layers: &self.images, rows: Some(rows) });
        let (parameters, objects) = (&self.parameters, &self.objects);
        LayerPairs { first, second, parameters, objects, redrawn: self.redrawn.as_ref() }
    }

    fn labelled(&self) -> Labelled<'_> {
        let images = View { layers: &self.images, rows: Some(&self.used) };
        Labelled { images, labels: self.labels.clone() }
    }
}

/// Squared distance that each task's part of `parameters` (N, all) goes, (N) each.
fn distances(parameters: &Tensor, tasks: &[EquivarianceTask]) -> Vec<(String, Tensor)> {
    let mut start = 0;
    let of_task = |EquivarianceTask { name, outputs }: &EquivarianceTask| {
        let part = parameters.narrow(1, start, *outputs);
        start += outputs;
        let part = if *outputs == 4 && quaternion::are_unit(&part) { turned(&part) } else { part };
        (name.clone(), part.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
    };
    tasks.iter().map(of_task).collect()
}

/// Quaternions x, y, z, w minus no rotation, of the two signs the nearer: (N, 4).
fn turned(quaternions: &Tensor) -> Tensor {
    let none = Tensor::from_slice(&[0f32, 0.0, 0.0, 1.0]).to_device(quaternions.device());
    quaternion::canonical(quaternions) - none
}
