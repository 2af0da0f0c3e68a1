//! Attentive transfer: a linear classifier of what a learned query pools from the tokens of an image
//! ([`crate::attentive`] has the same pooling). It stands beside the logistic regression of
//! [`crate::transfer`], and is chosen and tested as that is: the learning rate by top-1 on the validation
//! split, then a new fit on the training and validation splits together, which the test split judges.
//!
//! Pooling and classifier are trained together by Adam on the cross-entropy. The number of epochs is fixed,
//! and the smaller rates of the grid have the effect of stopping early. The rates are distributed over any
//! number of ranks.

use eqr_models::Collective;
use eqr_models::adam::{Adam, Buffers};
use eqr_random::Purpose;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::accuracy::Accuracy;
use crate::attentive_pooling::Pooling;
use crate::checks::{check_positive, finite, wrong_shape};
use crate::draws::{linear_layer, permutation};
use crate::error::{Error, Result, TensorRole};
use crate::flat_parameters::FlatParameters;
use crate::scaling::{Scaler, rows_in_pieces};
use crate::step_time;
use crate::transfer::{LabelledSplit, TransferData, check_shapes_and_labels, splits};

/// Learning rates of the grid, ascending.
pub const RATES: [f64; 4] = [1e-4, 3e-4, 1e-3, 3e-3];

/// Number of images evaluated at a time.
const EVALUATION_ROWS: i64 = 128;

/// The validation accuracy that ranks exchange for a fit that diverged.
const DIVERGED: f64 = -1.0;

/// Training of the classifiers.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentiveConfig {
    /// Passes over the training images, at least 1.
    pub epochs: usize,
    /// Images per step, at least 1. The last step of an epoch takes the remaining ones.
    pub batch: usize,
    /// Determines the initial weights and the order of the images.
    pub seed: u64,
}

impl Default for AttentiveConfig {
    fn default() -> Self {
        AttentiveConfig { epochs: 50, batch: 64, seed: 0 }
    }
}

/// Result for one learning rate of the grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatePoint {
    /// The learning rate.
    pub lr: f64,
    /// Top-1 accuracy on the validation split; `None` if training diverged.
    pub val_top1: Option<f64>,
}

/// The result of an attentive transfer.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentiveTransfer {
    /// Accuracy on the test split.
    pub accuracy: Accuracy,
    /// The learning rate with the best top-1 accuracy on the validation split. Ties go to the smallest.
    pub lr: f64,
    /// Results for the whole grid, in ascending order of the rate.
    pub grid: Vec<RatePoint>,
    /// Predicted classes of the test samples.
    pub predicted: Vec<i64>,
}

/// Fits the grid on `data`, which must be the same on every rank. Every rank returns the result.
///
/// The features of an image are its tokens of `width` values, one after the other: (N, T D), of any floating
/// kind. They are standardised per channel by the training split. A step holds the tokens of its images in
/// float32, 4 B T D bytes for B images, and two to three times that for the gradient. `progress` is called
/// with the number of finished epochs on this rank and their total number.
///
/// # Errors
/// As [`crate::transfer::transfer`]; a configuration value that is out of range; features that are no
/// multiple of `width`; training that diverges.
pub fn attentive_transfer(
    data: &TransferData,
    width: usize,
    config: &AttentiveConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<AttentiveTransfer> {
    check(data, width as i64, config)?;
    tch::no_grad(|| {
        let own: Vec<usize> = (ranks.rank()..RATES.len()).step_by(ranks.size()).collect();
        let total = (own.len() + 1) * config.epochs;
        let mut done = 0;
        let mut tick = || {
            done += 1;
            progress(done, total);
        };
        let problem = TokenClasses::new(data, width as i64);
        let mut tops = [0.0; RATES.len()];
        for &place in &own {
            let classifier = problem.trained(&[&data.train], RATES[place], config, &mut tick);
            tops[place] = problem.predicted(&classifier, &data.val).map_or(DIVERGED, |classes| {
                Accuracy::new(&classes, &data.val.y.to_device(Device::Cpu), problem.classes).top1
            });
        }
        let grid = gathered(tops, ranks);
        let diverged = || Error::Diverged { name: data.name.clone(), seed: config.seed };
        let lr = best(&grid).ok_or_else(diverged)?;
        let classifier = problem.trained(&[&data.train, &data.val], lr, config, &mut tick);
        let predicted = problem.predicted(&classifier, &data.test).ok_or_else(diverged)?;
        let accuracy = Accuracy::new(&predicted, &data.test.y.to_device(Device::Cpu), problem.classes);
        let predicted = Vec::try_from(predicted).expect("one class a sample");
        Ok(AttentiveTransfer { accuracy, lr, grid, predicted })
    })
}

/// Seconds that a step takes on images of `tokens` (T, D), measured on tokens of ones.
pub fn seconds_per_step(tokens: [i64; 2], classes: i64, config: &AttentiveConfig, device: Device) -> f64 {
    let [count, width] = tokens;
    let batch = config.batch as i64;
    let x = Tensor::ones([batch, count * width], (Kind::Half, device));
    let y = Tensor::zeros([batch], (Kind::Int64, device));
    let images = LabelledSplit { x, y };
    let scaler = Scaler::fit(&Tensor::ones([1, width], (Kind::Float, device)));
    let mut classifier = Classifier::new(config.seed, width, classes, &scaler, device);
    let mut adam = Adam::folded(&classifier.parameters.flat);
    let order: Vec<i64> = (0..batch).collect();
    tch::no_grad(|| {
        step_time::seconds(&mut || {
            let (tokens, labels) = batch_of(&[&images], &order, width);
            classifier.step(&mut adam, &tokens, &labels, RATES[0]);
            classifier.parameters.flat.shallow_clone()
        })
    })
}

/// The grid of all ranks. Each has the accuracies of its own rates, and zeros for the others.
fn gathered(own: [f64; RATES.len()], ranks: &dyn Collective) -> Vec<RatePoint> {
    let mut all = Tensor::from_slice(&own);
    ranks.all_reduce_sum(&mut all);
    let tops = Vec::<f64>::try_from(all).expect("one accuracy for each rate");
    let point = |(&lr, top1): (&f64, f64)| RatePoint { lr, val_top1: (top1 != DIVERGED).then_some(top1) };
    RATES.iter().zip(tops).map(point).collect()
}

/// The best rate, the smallest of several; `None` if all diverged.
fn best(grid: &[RatePoint]) -> Option<f64> {
    let tops = grid.iter().rev().filter_map(|point| Some((point.lr, point.val_top1?)));
    tops.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(lr, _)| lr)
}

fn check(data: &TransferData, width: i64, config: &AttentiveConfig) -> Result<()> {
    check_positive("epochs", config.epochs)?;
    check_positive("batch", config.batch)?;
    check_positive("width", width)?;
    check_shapes_and_labels(data)?;
    let TransferData { name, train, .. } = data;
    if train.x.size()[1] % width != 0 {
        let expected = format!("a number of columns that is a multiple of {width}");
        return Err(wrong_shape(name, TensorRole::TrainFeatures, &train.x, expected));
    }
    splits(data).into_iter().try_for_each(|(split, role, _)| {
        rows_in_pieces(&split.x.view([-1, width])).try_for_each(|piece| finite(name, role, &piece))
    })
}

/// What the fits of a grid share.
struct TokenClasses {
    /// Statistics of the training tokens.
    scaler: Scaler,
    /// Width of a token, D.
    width: i64,
    /// Number of classes, C.
    classes: i64,
    device: Device,
}

impl TokenClasses {
    fn new(data: &TransferData, width: i64) -> TokenClasses {
        TokenClasses {
            scaler: Scaler::fit(&data.train.x.view([-1, width])),
            width,
            classes: data.classes as i64,
            device: data.train.x.device(),
        }
    }

    /// A classifier trained on `splits` together. `tick` is called after each epoch.
    fn trained(
        &self,
        splits: &[&LabelledSplit],
        lr: f64,
        config: &AttentiveConfig,
        tick: &mut dyn FnMut(),
    ) -> Classifier {
        let TokenClasses { scaler, width, classes, device } = self;
        let mut classifier = Classifier::new(config.seed, *width, *classes, scaler, *device);
        let mut adam = Adam::folded(&classifier.parameters.flat);
        let images = splits.iter().map(|split| split.y.size()[0]).sum();
        for epoch in 0..config.epochs as u64 {
            let order = permutation(config.seed, epoch, Purpose::ProbeOrder, images);
            for order in order.chunks(config.batch) {
                let (tokens, labels) = batch_of(splits, order, *width);
                classifier.step(&mut adam, &tokens, &labels, lr);
            }
            tick();
        }
        classifier
    }

    /// The classes (N) that are predicted for a split, on the CPU; `None` if a score is not finite.
    fn predicted(&self, classifier: &Classifier, split: &LabelledSplit) -> Option<Tensor> {
        let pieces = split.x.split(EVALUATION_ROWS, 0);
        let of_piece = |piece: &Tensor| {
            let scores = classifier.scores(&as_tokens(piece, self.width));
            let usable = scores.isfinite().all().int64_value(&[]) == 1;
            usable.then(|| scores.argmax(1, false))
        };
        let classes: Vec<Tensor> = pieces.iter().map(of_piece).collect::<Option<_>>()?;
        Some(Tensor::cat(&classes, 0).to_device(Device::Cpu))
    }
}

/// Rows (B, T D) of any floating kind as tokens (B, T, D), float32.
fn as_tokens(rows: &Tensor, width: i64) -> Tensor {
    rows.view([rows.size()[0], -1, width]).to_kind(Kind::Float)
}

/// Tokens (B, T, D) and labels (B) of the images `order`, which counts through all splits. They are in the
/// order of the splits, which are not copied into one.
fn batch_of(splits: &[&LabelledSplit], order: &[i64], width: i64) -> (Tensor, Tensor) {
    let (mut tokens, mut labels, mut start) = (Vec::new(), Vec::new(), 0);
    for split in splits {
        let images = split.y.size()[0];
        let of_split = order.iter().map(|row| row - start).filter(|row| (0..images).contains(row));
        let rows: Vec<i64> = of_split.collect();
        if !rows.is_empty() {
            let rows = Tensor::from_slice(&rows).to_device(split.y.device());
            tokens.push(as_tokens(&split.x.index_select(0, &rows), width));
            labels.push(split.y.index_select(0, &rows));
        }
        start += images;
    }
    (Tensor::cat(&tokens, 0), Tensor::cat(&labels, 0))
}

/// Pooling and a linear layer.
struct Classifier {
    parameters: FlatParameters,
    pooling: Pooling,
    /// (C, D).
    weight: Tensor,
    /// (C).
    bias: Tensor,
}

impl Classifier {
    /// A classifier with weights drawn like those of torch's `Linear`.
    fn new(seed: u64, width: i64, classes: i64, scaler: &Scaler, device: Device) -> Classifier {
        let (weight, bias) = linear_layer(seed, 0, width, classes, device);
        let [key, value, query] = Pooling::draw(seed, 1, width, device);
        let parameters = FlatParameters::new(&[weight, bias, key, value, query]);
        let leaf = |place: usize| parameters.leaves[place].shallow_clone();
        let pooling = Pooling::new([leaf(2), leaf(3), leaf(4)], scaler);
        Classifier { weight: leaf(0), bias: leaf(1), pooling, parameters }
    }

    /// Tokens (B, T, D) -> scores of the classes (B, C).
    fn scores(&self, tokens: &Tensor) -> Tensor {
        self.pooling.pool(tokens).linear(&self.weight, Some(&self.bias))
    }

    /// Gradient of the mean cross-entropy on tokens (B, T, D) with labels (B), like the flat parameters.
    fn gradient(&self, tokens: &Tensor, labels: &Tensor) -> Tensor {
        self.parameters.gradient(|| self.scores(tokens).cross_entropy_for_logits(labels))
    }

    fn step(&mut self, adam: &mut Adam, tokens: &Tensor, labels: &Tensor, lr: f64) {
        let gradients = self.gradient(tokens, labels);
        let buffers = Buffers { values: &mut self.parameters.flat, gradients: &gradients, copy: None };
        adam.update_buffers(buffers, lr);
    }
}

#[cfg(test)]
mod tests {
    use eqr_models::test_device::test_device;
    use std::cell::RefCell;

    use eqr_models::Solo;
    use eqr_models::thread_team::{Sums, run_on_threads};

    use super::*;
    use crate::logistic::LogisticConfig;
    use crate::transfer::transfer;

    const PLACES: i64 = 9;
    const WIDTH: i64 = 4;

    fn noise(size: &[i64], frequency: f64) -> Tensor {
        let count: i64 = size.iter().product();
        let wave = (Tensor::arange(count, (Kind::Double, test_device())) * frequency).sin() * 43_758.545_3;
        let unit: Tensor = &wave - wave.floor();
        (unit * 2.0 - 1.0).to_kind(Kind::Float).view(size)
    }

    /// The class is the sign of one channel in a token that another channel flags, whose place varies. The
    /// token after it has the opposite value and no flag, so that the mean over the tokens says nothing.
    fn planted(images: i64, frequency: f64) -> LabelledSplit {
        let place = (noise(&[images], frequency).abs() * PLACES as f64).floor().to_kind(Kind::Int64);
        let flag = place.clamp(0, PLACES - 1).one_hot(PLACES).to_kind(Kind::Float); // (N, T)
        let y = noise(&[images], frequency + 1.0).gt(0.0).to_kind(Kind::Int64);
        let sign = (&y * 2 - 1).unsqueeze(1);
        let value = (&flag - flag.roll([1], [1])) * sign;
        let rest = noise(&[images, PLACES, 2], frequency + 2.0);
        let x = Tensor::cat(&[(flag * 3.0).unsqueeze(2), value.unsqueeze(2), rest], 2);
        LabelledSplit { x: x.flatten(1, 2).to_kind(Kind::Half), y }
    }

    fn data(images: [i64; 3]) -> TransferData {
        let [train, val, test] = images;
        let (train, val, test) = (planted(train, 12.9898), planted(val, 5.31), planted(test, 7.77));
        TransferData { name: "planted".into(), train, val, test, shifted: None, classes: 2 }
    }

    /// Every split as the mean of its tokens.
    fn means(data: &TransferData) -> TransferData {
        let mean = |split: &LabelledSplit| LabelledSplit {
            x: as_tokens(&split.x, WIDTH).mean_dim([1i64].as_slice(), false, None),
            y: split.y.copy(),
        };
        let TransferData { name, train, val, test, classes, .. } = data;
        TransferData {
            name: name.clone(),
            train: mean(train),
            val: mean(val),
            test: mean(test),
            shifted: None,
            classes: *classes,
        }
    }

    fn fit(data: &TransferData, config: &AttentiveConfig) -> Result<AttentiveTransfer> {
        attentive_transfer(data, WIDTH as usize, config, &Solo, &mut |_, _| {})
    }

    #[test]
    fn one_token_among_many_is_found_where_the_mean_fails() {
        let data = data([1000, 300, 500]);
        let logistic = transfer(&means(&data), &LogisticConfig::default(), &Solo, &mut |_, _| {}).unwrap();
        assert!(logistic.accuracy.top1 < 0.6, "{:?}", logistic.accuracy);
        let config = AttentiveConfig { epochs: 30, ..AttentiveConfig::default() };
        let calls = RefCell::new(Vec::new());
        let mut progress = |done, total| calls.borrow_mut().push((done, total));
        let found = attentive_transfer(&data, WIDTH as usize, &config, &Solo, &mut progress).unwrap();
        assert!(found.accuracy.top1 > 0.9, "{found:?}");
        let labels = Vec::<i64>::try_from(&data.test.y).unwrap();
        let right = found.predicted.iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert_eq!(found.accuracy.top1, right as f64 / 500.0);
        let tops: Vec<f64> = found.grid.iter().map(|point| point.val_top1.unwrap()).collect();
        let chosen = RATES.iter().position(|&lr| lr == found.lr).unwrap();
        assert!(tops[..chosen].iter().all(|&top1| top1 < tops[chosen]), "{found:?}");
        assert!(tops[chosen..].iter().all(|&top1| top1 <= tops[chosen]), "{found:?}");
        let ticks = (RATES.len() + 1) * 30;
        assert_eq!(*calls.borrow(), (1..=ticks).map(|done| (done, ticks)).collect::<Vec<_>>());
    }

    #[test]
    fn the_seed_decides() {
        let data = data([100, 60, 60]);
        let of_seed = |seed| {
            let config = AttentiveConfig { epochs: 2, seed, ..AttentiveConfig::default() };
            fit(&data, &config).unwrap()
        };
        assert_eq!(of_seed(0), of_seed(0));
        assert_ne!(of_seed(0), of_seed(1));
    }

    /// This includes more ranks than rates.
    #[test]
    fn ranks_change_nothing() {
        let config = AttentiveConfig { epochs: 2, ..AttentiveConfig::default() };
        let data = || data([100, 60, 60]);
        let alone = fit(&data(), &config).unwrap();
        for ranks in [2, 3, 6] {
            for other in run_on_threads(ranks, Sums::AtOnce, |ranks| {
                attentive_transfer(&data(), WIDTH as usize, &config, ranks, &mut |_, _| {}).unwrap()
            }) {
                assert_eq!(other, alone, "{ranks} ranks");
            }
        }
    }

    /// With a query of zeros, it is a linear classifier of the mean.
    #[test]
    fn a_query_of_zeros_classifies_the_mean() {
        let split = planted(50, 12.9898);
        let tokens = as_tokens(&split.x, WIDTH);
        let scaler = Scaler::fit(&tokens.flatten(0, 1));
        let classifier = Classifier::new(3, WIDTH, 5, &scaler, test_device());
        let [weight, bias, _, value, query] = &classifier.parameters.leaves[..] else { unreachable!() };
        let _ = tch::no_grad(|| query.shallow_clone().zero_());
        let mean = tokens.mean_dim([1i64].as_slice(), false, None); // (B, D)
        let expected = scaler.apply_float(&mean).matmul(&value.tr()).matmul(&weight.tr()) + bias.unsqueeze(0);
        assert!((classifier.scores(&tokens) - expected).abs().max().double_value(&[]) < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let split = planted(20, 12.9898);
        let tokens = as_tokens(&split.x, WIDTH);
        let scaler = Scaler::fit(&tokens.flatten(0, 1));
        let mut classifier = Classifier::new(3, WIDTH, 2, &scaler, test_device());
        let gradient = classifier.gradient(&tokens, &split.y);
        // a step along the gradient changes the loss by its squared length
        let length = gradient.norm().double_value(&[]);
        let (along, step) = (&gradient / length, 1e-2);
        let mut loss = |by: f64| {
            let _ = tch::no_grad(|| classifier.parameters.flat.g_add_(&(&along * by)));
            classifier.scores(&tokens).cross_entropy_for_logits(&split.y).double_value(&[])
        };
        let slope = (loss(step) - loss(-2.0 * step)) / (2.0 * step);
        assert!((slope / length - 1.0).abs() < 1e-2, "{slope} {length}");
    }

    /// A batch takes its images from two splits as from one that holds them all.
    #[test]
    fn batches_count_through_the_splits() {
        let (first, second) = (planted(7, 12.9898), planted(5, 7.77));
        let both = LabelledSplit {
            x: Tensor::cat(&[&first.x, &second.x], 0),
            y: Tensor::cat(&[&first.y, &second.y], 0),
        };
        for (order, grouped) in [([11i64, 0, 7, 6], [0i64, 6, 11, 7]), ([9, 8, 10, 7], [9, 8, 10, 7])] {
            let found = batch_of(&[&first, &second], &order, WIDTH);
            let expected = batch_of(&[&both], &grouped, WIDTH);
            assert!(found.0.equal(&expected.0) && found.1.equal(&expected.1), "{order:?}");
        }
    }

    /// A rate at which training diverges is not chosen.
    #[test]
    fn rates_that_diverge_are_left_out() {
        let point = |lr, val_top1| RatePoint { lr, val_top1 };
        let grid = gathered([0.5, 0.75, 0.75, DIVERGED], &Solo);
        assert_eq!(grid[3], point(RATES[3], None));
        assert_eq!(best(&grid), Some(RATES[1]));
        assert_eq!(best(&[point(1.0, None)]), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let config = AttentiveConfig { epochs: 1, ..AttentiveConfig::default() };
        let refused = |data: &TransferData, config: &AttentiveConfig, says: &str| {
            let text = fit(data, config).unwrap_err().to_string();
            assert!(text.contains(says), "{says}: {text}");
        };
        let small = || data([20, 10, 10]);
        refused(&small(), &AttentiveConfig { epochs: 0, ..config.clone() }, "epochs = 0");
        let mut narrow = small();
        narrow.val.x = narrow.val.x.narrow(1, 0, WIDTH);
        refused(&narrow, &config, "planted: validation features have shape [10, 4]");
        let mut infinite = small();
        infinite.test.x = &infinite.test.x / 0.0;
        refused(&infinite, &config, "planted: test features hold");
        let text = attentive_transfer(&small(), 7, &config, &Solo, &mut |_, _| {}).unwrap_err().to_string();
        assert!(text.contains("[20, 36]") && text.contains("a multiple of 7"), "{text}");
    }
}
