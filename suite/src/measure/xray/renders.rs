//! The X-ray on renders: all transformations are read from the same pairs of views.

use anyhow::Result;
use eqr_probes::bootstrap::Objects;
use eqr_probes::quaternion;
use eqr_probes::redraw::EpochPairs;
use tch::{Device, Kind, Tensor};

use crate::data::pairs::PairSource;
use crate::encoder::layer::{Layer, LayeredEncoder};
use crate::measure::evaluation::{Evaluation, TEST_PAIRS_SEED, TRAIN_PAIRS_SEED};
use crate::measure::render_pairs;
use crate::measure::xray::classes::{self, Labelled};
use crate::measure::xray::held;
use crate::measure::xray::reading::Xray;
use crate::measure::xray::sensitivity;
use crate::measure::xray::spots::{LayerPairs, View};
use crate::measure::xray::views::{distinct, of_images};
use crate::suite_file::tasks::EquivarianceTask;

/// Pairs of a split, with their images seen by every layer.
struct Renders {
    images: Vec<Layer>,
    /// Rows of both views of each pair.
    rows: [Tensor; 2],
    /// (N, k)
    parameters: Tensor,
    /// The object of each pair.
    objects: Objects,
    /// Class of each image.
    labels: Vec<i64>,
    /// Object of each image.
    objects_of_images: Objects,
}

pub(super) fn measure(encoder: &dyn LayeredEncoder, evaluation: &Evaluation) -> Result<Xray> {
    let [train_pairs, test_pairs] = [evaluation.probe.train_pairs, evaluation.probe.test_pairs];
    let train = Renders::encode(encoder, evaluation.train, train_pairs, TRAIN_PAIRS_SEED)?;
    let test = Renders::encode(encoder, evaluation.test, test_pairs, TEST_PAIRS_SEED)?;
    let mut readings = classes::ranks(&test.images);
    if evaluation.pack.has_labels() {
        let count = evaluation.pack.class_names.len();
        let [of_train, of_test] = [&train, &test].map(Renders::labelled);
        readings.extend(classes::neighbours(&of_train, &of_test, &test.objects_of_images, count));
    }
    let tasks = evaluation.tasks();
    readings.extend(held::measure(&train.pairs(), &test.pairs(), &tasks)?);
    readings.extend(sensitivity::of_pairs(&test.pairs(), &distances(&test.parameters, &tasks)));
    let pairs = [&train, &test].map(|split| split.objects.rows());
    Ok(Xray { pairs, objects: test.objects.count(), readings })
}

impl Renders {
    /// The pairs of the first epoch of `probe`, of which every image is encoded once.
    fn encode(encoder: &dyn LayeredEncoder, source: &PairSource, count: usize, seed: u64) -> Result<Renders> {
        let all = source.indices();
        let EpochPairs { first, second, parameters } =
            render_pairs::draw(source.share(), count, seed, Device::Cpu)(0);
        let [first, second] = [first, second].map(|rows| Vec::<i64>::try_from(rows).expect("one row a pair"));
        let (used, place) = distinct(&[&first[..], &second].concat());
        let numbers: Vec<usize> = used.iter().map(|&row| all[row as usize]).collect();
        let images = of_images(encoder, source, &numbers)?;
        let device = images[0].readouts[0].1.device();
        let rows = |of: &[i64]| Tensor::from_slice(&place(of)).to_device(device);
        let views = source.views() as i64;
        let objects = |rows: &[i64]| Objects::new(&rows.iter().map(|row| row / views).collect::<Vec<_>>());
        Ok(Renders {
            images,
            rows: [rows(&first), rows(&second)],
            parameters: parameters.to_device(device),
            objects: objects(&first),
            labels: numbers.iter().map(|&image| source.labels()[image]).collect(),
            objects_of_images: objects(&used),
        })
    }

    fn pairs(&self) -> LayerPairs<'_> {
        let [first, second] =
            self.rows.each_ref().map(|rows| View { layers: &self.images, rows: Some(rows) });
        LayerPairs { first, second, parameters: &self.parameters, objects: &self.objects }
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled { layers: &self.images, labels: self.labels.clone() }
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
