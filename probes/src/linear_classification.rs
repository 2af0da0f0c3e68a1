//! Linear classification probe of protocol section 4: a linear head on frozen features. All seeds are trained
//! together.

use crate::checks::{
    check_above_zero, check_classes, check_labels, check_positive, expect_shape, finite, matrix, wrong_shape,
};
use crate::draws::{linear_layer, permutation};
use crate::error::{Error, Result, TensorRole};
use crate::scaling::Scaler;
use eqr_models::adam::{Adam, Buffers};
use eqr_random::{Purpose, probe_rng};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Number of rows evaluated at a time.
const EVALUATION_ROWS: i64 = 4096;

/// Labelled features. Feature tensors have any floating kind, label tensors are int64, and all are on one
/// device.
#[derive(Debug)]
pub struct LabelledFeatures {
    /// Name used in messages.
    pub name: String,
    /// Training features (N, D), where N = units * views. The views of a unit (for example, an object) are
    /// consecutive.
    pub train_x: Tensor,
    /// Training labels (N), each in 0..classes.
    pub train_y: Tensor,
    /// Test features (M, D).
    pub test_x: Tensor,
    /// Test labels (M), each in 0..classes.
    pub test_y: Tensor,
    /// Number of views of each training unit, at least 1. Each epoch trains on one of them, drawn at random.
    pub views: usize,
    /// Number of classes, at least 2.
    pub classes: usize,
}

/// Configuration of the training. The default is the protocol's (section 4). Adam has the same settings as in
/// [`crate::mlp::ProbeConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyConfig {
    /// Passes over the training units, at least 1.
    pub epochs: usize,
    /// Units per step, at least 1. The last step of an epoch takes the remaining units.
    pub batch: usize,
    /// Adam's constant learning rate, above 0.
    pub lr: f64,
}

impl Default for ClassifyConfig {
    fn default() -> Self {
        ClassifyConfig { epochs: 300, batch: 256, lr: 1e-3 }
    }
}

impl ClassifyConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// Returns [`Error::Config`] with the key, the value found and the valid range.
    pub fn validate(&self) -> Result<()> {
        check_positive("epochs", self.epochs)?;
        check_positive("batch", self.batch)?;
        check_above_zero("lr", self.lr)
    }
}

/// Top-1 accuracies, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Top1 {
    /// Over all training images, every view of every unit.
    pub train: f64,
    /// Over all test images.
    pub test: f64,
}

/// Trains a linear head for every seed and returns the accuracies in the order of `seeds`. The seed
/// determines the initial weights (torch's default for `Linear`), the order of the units and the views drawn.
///
/// # Errors
/// Fails if there is no seed, a configuration value is out of range, shapes are inconsistent, N is not a
/// multiple of `views`, features are NaN or infinite, labels are outside 0..classes, there are fewer than two
/// classes, or training diverges.
pub fn classify(data: &LabelledFeatures, seeds: &[u64], config: &ClassifyConfig) -> Result<Vec<Top1>> {
    classify_with_progress(data, seeds, config, &mut |_, _| {})
}

/// Like [`classify`]. After each epoch, `progress` is called with the number of finished epochs and their
/// total number.
///
/// # Errors
/// Same as [`classify`].
pub fn classify_with_progress(
    data: &LabelledFeatures,
    seeds: &[u64],
    config: &ClassifyConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Top1>> {
    config.validate()?;
    if seeds.is_empty() {
        return Err(Error::Empty { what: "probe seed" });
    }
    tch::no_grad(|| {
        check(data)?;
        let scaler = Scaler::fit(&data.train_x);
        let features = scaler.apply_float(&data.train_x);
        let mut heads = Heads::new(&features, data.classes as i64, seeds, config.lr);
        for epoch in 0..config.epochs {
            heads.epoch(&features, data, &epoch_rows(data, seeds, epoch), config.batch as i64);
            progress(epoch + 1, config.epochs);
        }
        heads.check_finite(&data.name, seeds)?;
        let train = heads.top1(&features, &data.train_y);
        let test = heads.top1(&scaler.apply_float(&data.test_x), &data.test_y);
        Ok(train.into_iter().zip(test).map(|(train, test)| Top1 { train, test }).collect())
    })
}

fn check(data: &LabelledFeatures) -> Result<()> {
    let LabelledFeatures { name, train_x, train_y, test_x, test_y, views, classes } = data;
    let (train_rows, features) = matrix(name, TensorRole::TrainFeatures, train_x)?;
    let (test_rows, _) = matrix(name, TensorRole::TestFeatures, test_x)?;
    expect_shape(name, TensorRole::TestFeatures, test_x, &[test_rows, features])?;
    if *views == 0 || train_rows % *views as i64 != 0 {
        let expected = format!("a number of rows that is a multiple of the {views} views of each unit");
        return Err(wrong_shape(name, TensorRole::TrainFeatures, train_x, expected));
    }
    check_classes(*classes as i64)?;
    finite(name, TensorRole::TrainFeatures, train_x)?;
    finite(name, TensorRole::TestFeatures, test_x)?;
    check_labels(name, TensorRole::TrainTargets, train_y, train_rows, *classes as i64)?;
    check_labels(name, TensorRole::TestTargets, test_y, test_rows, *classes as i64)
}

/// Training rows that one epoch visits, (S, units): one view of each unit, in a different order for each
/// seed.
fn epoch_rows(data: &LabelledFeatures, seeds: &[u64], epoch: usize) -> Tensor {
    let views = data.views as i64;
    let units = data.train_x.size()[0] / views;
    let rows: Vec<i64> = seeds
        .iter()
        .flat_map(|&seed| {
            let mut draw = probe_rng(seed, epoch as u64, Purpose::ProbeView);
            let order = permutation(seed, epoch as u64, Purpose::ProbeOrder, units);
            order.into_iter().map(move |unit| unit * views + draw.gen_range(0..views))
        })
        .collect();
    Tensor::from_slice(&rows).view([seeds.len() as i64, units]).to_device(data.train_x.device())
}

/// The linear heads of S seeds as views into flat buffers, for D features and C classes.
struct Heads {
    /// (S, D, C) and its gradient.
    weight: Tensor,
    weight_gradient: Tensor,
    /// (S, 1, C) and its gradient.
    bias: Tensor,
    bias_gradient: Tensor,
    /// The flat buffers that these are views of.
    values: Tensor,
    gradients: Tensor,
    adam: Adam,
    lr: f64,
}

impl Heads {
    fn new(features: &Tensor, classes: i64, seeds: &[u64], lr: f64) -> Heads {
        let (device, inputs, count) = (features.device(), features.size()[1], seeds.len() as i64);
        let split = count * inputs * classes;
        let flat = || Tensor::zeros([split + count * classes], (Kind::Float, device));
        let (values, gradients) = (flat(), flat());
        let weight = |t: &Tensor| t.narrow(0, 0, split).view([count, inputs, classes]);
        let bias = |t: &Tensor| t.narrow(0, split, count * classes).view([count, 1, classes]);
        let heads = Heads {
            weight: weight(&values),
            weight_gradient: weight(&gradients),
            bias: bias(&values),
            bias_gradient: bias(&gradients),
            adam: Adam::folded(&values),
            values,
            gradients,
            lr,
        };
        for (s, &seed) in seeds.iter().enumerate() {
            let (weight, bias) = linear_layer(seed, 0, inputs, classes, device);
            heads.weight.get(s as i64).copy_(&weight.tr());
            heads.bias.get(s as i64).copy_(&bias.unsqueeze(0));
        }
        heads
    }

    /// One pass over `rows` (S, units) of the standardised training features.
    fn epoch(&mut self, features: &Tensor, data: &LabelledFeatures, rows: &Tensor, batch: i64) {
        let units = rows.size()[1];
        for start in (0..units).step_by(batch as usize) {
            let picked = rows.narrow(1, start, batch.min(units - start));
            self.step(&pick(features, &picked), &pick(&data.train_y, &picked));
        }
    }

    /// One step on features `x` (S, B, D) and labels `y` (S, B). The gradient of the mean cross-entropy with
    /// respect to the scores is (softmax - one-hot) / B.
    fn step(&mut self, x: &Tensor, y: &Tensor) {
        let rows = x.size()[1] as f64;
        let index = y.unsqueeze(2);
        let mut slope = self.bias.baddbmm(x, &self.weight, 1.0, 1.0).softmax(2, Kind::Float);
        let _ = slope.scatter_add_(2, &index, &Tensor::full(index.size(), -1.0, (Kind::Float, x.device())));
        let _ = slope.g_mul_scalar_(1.0 / rows);
        let _ = x.transpose(1, 2).bmm_out(&self.weight_gradient, &slope);
        let _ = slope.sum_intlist_out(&self.bias_gradient, &[1i64][..], true, Kind::Float);
        let buffers = Buffers { values: &mut self.values, gradients: &self.gradients, copy: None };
        self.adam.update_buffers(buffers, self.lr);
    }

    /// Fails if the weights of a head are not finite.
    fn check_finite(&self, name: &str, seeds: &[u64]) -> Result<()> {
        for (s, &seed) in seeds.iter().enumerate() {
            if self.weight.get(s as i64).isfinite().all().int64_value(&[]) == 0 {
                return Err(Error::Diverged { name: name.into(), seed });
            }
        }
        Ok(())
    }

    /// Top-1 accuracy for each seed, on standardised features `x` (R, D) with labels `y` (R).
    fn top1(&self, x: &Tensor, y: &Tensor) -> Vec<f64> {
        let rows = y.size()[0];
        let mut right = Tensor::zeros([self.weight.size()[0]], (Kind::Int64, x.device()));
        for start in (0..rows).step_by(EVALUATION_ROWS as usize) {
            let length = EVALUATION_ROWS.min(rows - start);
            let x = x.narrow(0, start, length).unsqueeze(0).expand([self.weight.size()[0], -1, -1], false);
            let best = self.bias.baddbmm(&x, &self.weight, 1.0, 1.0).argmax(2, false);
            right +=
                best.eq_tensor(&y.narrow(0, start, length)).sum_dim_intlist(&[1i64][..], false, Kind::Int64);
        }
        let right: Vec<i64> = Vec::try_from(right.to_device(Device::Cpu)).expect("one count for each seed");
        right.into_iter().map(|count| count as f64 / rows as f64).collect()
    }
}

/// The rows of `source` (N, ...) with indices `rows` (S, B): (S, B, ...).
fn pick(source: &Tensor, rows: &Tensor) -> Tensor {
    let shape: Vec<i64> = rows.size().into_iter().chain(source.size().into_iter().skip(1)).collect();
    source.index_select(0, &rows.reshape([-1])).view(&shape[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    /// Compares the gradients of one step with autograd.
    #[test]
    fn gradients_agree_with_autograd() {
        let x = (Tensor::arange(2 * 7 * 5, (Kind::Float, test_device())) * 0.8).sin().view([2, 7, 5]);
        let y = Tensor::arange(14, (Kind::Int64, test_device())).remainder(3).view([2, 7]);
        let mut heads = Heads::new(&x.get(0), 3, &[1, 2], 1e-3);
        let leaves = [&heads.weight, &heads.bias].map(|t| t.copy().set_requires_grad(true));
        let scores = leaves[1].baddbmm(&x, &leaves[0], 1.0, 1.0);
        let loss =
            (0..2).map(|s| scores.get(s).cross_entropy_for_logits(&y.get(s))).reduce(|a, b| a + b).unwrap();
        let expected = Tensor::run_backward(&[loss], &leaves, false, false);
        tch::no_grad(|| heads.step(&x, &y));
        for (found, expected) in [&heads.weight_gradient, &heads.bias_gradient].into_iter().zip(&expected) {
            assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
        }
    }

    #[test]
    fn an_epoch_visits_every_unit_once_through_one_of_its_views() {
        let data = LabelledFeatures {
            name: "views".into(),
            train_x: Tensor::zeros([40, 2], (Kind::Float, test_device())),
            train_y: Tensor::zeros([40], (Kind::Int64, test_device())),
            test_x: Tensor::zeros([1, 2], (Kind::Float, test_device())),
            test_y: Tensor::zeros([1], (Kind::Int64, test_device())),
            views: 4,
            classes: 2,
        };
        let mut seen = [false; 4];
        for epoch in 0..20 {
            let rows: Vec<i64> = Vec::try_from(epoch_rows(&data, &[5], epoch).get(0)).unwrap();
            let mut units: Vec<i64> = rows.iter().map(|row| row / 4).collect();
            units.sort_unstable();
            assert_eq!(units, (0..10).collect::<Vec<_>>());
            rows.iter().for_each(|row| seen[(row % 4) as usize] = true);
        }
        assert_eq!(seen, [true; 4]);
    }
}
