//! The X-ray on photographs: every transform has its own second views, and small steps from some of them.

use anyhow::Result;
use eqr_datasets::transforms::Transform;
use eqr_probes::bootstrap::Objects;
use tch::{Kind, Tensor};

use crate::console::counted;
use crate::data::pairs::{PairSource, ViewDraw};
use crate::encoder::layer::{Layer, LayeredEncoder};
use crate::measure::evaluation::{
    DRAWS, ENCODE, ENCODING, Evaluation, TEST_PAIRS_SEED, TRAIN_PAIRS_SEED, batches,
};
use crate::measure::xray::classes::{self, Labelled};
use crate::measure::xray::held::{self, Probes};
use crate::measure::xray::predictions::Splits;
use crate::measure::xray::sensitivity::{self, Steps};
use crate::measure::xray::spots::{LayerPairs, View};
use crate::run_folder::xray::{Reading, Xray};
use crate::suite_file::tasks::EquivarianceTask;

/// Maximum number of test photographs that take a small step.
const STEPPED: usize = 512;

/// Photographs of a split, with the first views of all draws seen by every layer.
struct Photographs<'a> {
    encoder: &'a dyn LayeredEncoder,
    source: &'a PairSource,
    units: Vec<usize>,
    seed: u64,
    first: Vec<Layer>,
    objects: Objects,
}

pub(super) fn measure(encoder: &dyn LayeredEncoder, evaluation: &Evaluation, probes: Probes) -> Result<Xray> {
    let train =
        Photographs::encode(encoder, evaluation.train, evaluation.train_photographs(), TRAIN_PAIRS_SEED)?;
    let test = Photographs::encode(encoder, evaluation.test, evaluation.test_photographs(), TEST_PAIRS_SEED)?;
    let mut readings = classes::ranks(&test.first);
    if evaluation.pack.has_labels() {
        let count = evaluation.pack.class_names.len();
        readings.extend(classes::neighbours(&train.labelled(), &test.labelled(), &test.objects, count));
    }
    for (done, &transform) in evaluation.transforms.active.iter().enumerate() {
        let (train_second, train_parameters) = train.second(transform)?;
        let (test_second, test_parameters) = test.second(transform)?;
        let task = EquivarianceTask { name: transform.name().to_owned(), outputs: transform.dim() as i64 };
        let train_pairs = train.pairs(&train_second, &train_parameters);
        let test_pairs = test.pairs(&test_second, &test_parameters);
        if done == 0 {
            held::say_perceptrons(&train_pairs, &evaluation.tasks(), probes);
        }
        let splits = Splits { train: &train_pairs, test: &test_pairs, tasks: &[task] };
        readings.extend(held::measure(splits, probes)?);
        drop(train_second);
        readings.extend(test.sensitivity(transform, &test_second, &test_parameters)?);
    }
    let [train_pairs, test_pairs] = [&train, &test].map(|split| split.objects.rows());
    Ok(Xray { train_pairs, test_pairs, test_objects: test.objects.count(), readings })
}

/// Number of images that are encoded.
pub(super) fn images(evaluation: &Evaluation) -> usize {
    let [train, test] =
        [evaluation.train_photographs(), evaluation.test_photographs()].map(|units| units.len());
    let transforms = evaluation.transforms.active.len();
    (train + test) * DRAWS as usize * (1 + transforms) + test.min(STEPPED) * transforms
}

impl<'a> Photographs<'a> {
    fn encode(
        encoder: &'a dyn LayeredEncoder,
        source: &'a PairSource,
        units: Vec<usize>,
        seed: u64,
    ) -> Result<Photographs<'a>> {
        let mut first = Vec::new();
        for (draw, units) in counted(ENCODING, batches(&units).into_iter()) {
            let view1 = source.first_views(seed, draw, units)?;
            first.push(encoder.layers(&source.normalise(&view1.pixels()))?);
        }
        let keys: Vec<i64> = (0..DRAWS).flat_map(|_| units.iter().map(|&unit| unit as i64)).collect();
        let first = Layer::concatenated(&first);
        Ok(Photographs { encoder, source, units, seed, first, objects: Objects::new(&keys) })
    }

    /// The second views made by `transform`, seen by every layer, and its parameters.
    fn second(&self, transform: Transform) -> Result<(Vec<Layer>, Tensor)> {
        let (mut second, mut parameters) = (Vec::new(), Vec::new());
        for (draw, units) in counted(ENCODING, batches(&self.units).into_iter()) {
            let view1 = self.source.first_views(self.seed, draw, units)?;
            let (view2, target) = self.source.second_views(&view1, self.seed, draw, units, &[transform]);
            second.push(self.encoder.layers(&view2)?);
            parameters.push(target);
        }
        Ok((Layer::concatenated(&second), Tensor::cat(&parameters, 0)))
    }

    fn pairs<'b>(&'b self, second: &'b [Layer], parameters: &'b Tensor) -> LayerPairs<'b> {
        let whole = |layers| View { layers, rows: None };
        let (first, second) = (whole(&self.first), whole(second));
        LayerPairs { first, second, parameters, objects: &self.objects, redrawn: None }
    }

    fn labelled(&self) -> Labelled<'_> {
        let of_draw = || self.units.iter().map(|&unit| self.source.labels()[unit]);
        let images = View { layers: &self.first, rows: None };
        Labelled { images, labels: (0..DRAWS).flat_map(|_| of_draw()).collect() }
    }

    /// The sensitivity to `transform`, from small steps of the first photographs in the first draw.
    fn sensitivity(
        &self,
        transform: Transform,
        second: &[Layer],
        parameters: &Tensor,
    ) -> Result<Vec<Reading>> {
        let units = &self.units[..self.units.len().min(STEPPED)];
        let along: Vec<usize> = (0..units.len()).map(|row| row % transform.dim()).collect();
        let (mut after, mut stepped) = (Vec::new(), Vec::new());
        for (units, along) in units.chunks(ENCODE).zip(along.chunks(ENCODE)) {
            let draw = ViewDraw { seed: self.seed, epoch: 0, units };
            let view1 = self.source.first_views(self.seed, 0, units)?;
            let (view2, target) = self.source.stepped_views(&view1, draw, transform, along);
            after.push(self.encoder.layers(&view2)?);
            stepped.push(target);
        }
        let rows = Tensor::arange(units.len() as i64, (Kind::Int64, parameters.device()));
        let stepping = |layers| View { layers, rows: Some(&rows) };
        let keys: Vec<i64> = units.iter().map(|&unit| unit as i64).collect();
        Ok(sensitivity::of_steps(&Steps {
            task: transform.name(),
            images: stepping(&self.first),
            before: stepping(second),
            after: View { layers: &Layer::concatenated(&after), rows: None },
            weights: &weights(parameters, &Tensor::cat(&stepped, 0), &along),
            objects: &Objects::new(&keys),
        }))
    }
}

/// k s_j² / d² of each step, (n): `parameters` (N, k) of all pairs, whose first n rows were `stepped` (n, k)
/// along the entries `along`.
fn weights(parameters: &Tensor, stepped: &Tensor, along: &[usize]) -> Tensor {
    let along: Vec<i64> = along.iter().map(|&output| output as i64).collect();
    let along = Tensor::from_slice(&along).to_device(parameters.device());
    let step = stepped - parameters.narrow(0, 0, stepped.size()[0]);
    let step = step.gather(1, &along.unsqueeze(1), false).squeeze_dim(1);
    let mean = parameters.mean_dim([0i64].as_slice(), true, None::<Kind>);
    let variance = (parameters - mean).square().mean_dim([0i64].as_slice(), false, None::<Kind>);
    variance.index_select(0, &along) * parameters.size()[1] as f64 / step.square()
}
