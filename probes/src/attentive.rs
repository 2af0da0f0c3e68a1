//! Attentive probe: it learns how to pool the tokens of an image, and predicts from what it has pooled.
//!
//! The pooling is the multi-head attention of one learned query over the standardised tokens of an image, as
//! in the attentive probes of AIM (El-Nouby et al. 2024, "Scalable pre-training of large autoregressive image
//! models", section on probing) and, with more layers, of V-JEPA (Bardes et al. 2024).
//!
//! Both views of a pair are pooled by the same query. The MLP of the protocol ([`crate::mlp`]) predicts the
//! target from what is pooled of the first view and of the second; it has the same layers, targets, seeds,
//! order of rows, epochs, batches and learning rate as there, and its scores are comparable. Everything is
//! trained together.

use std::fmt;

use eqr_models::adam::{Adam, Buffers};
use eqr_random::Purpose;
use tch::{Device, Kind, Tensor};

use crate::attentive_pooling::Pooling;
use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::draws::{linear_layer, permutation};
use crate::error::{Error, Result, TensorRole};
use crate::flat_parameters::FlatParameters;
use crate::mlp::{Fit, ProbeConfig};
use crate::r2::{R2, squared_residuals};
use crate::redraw::{EpochPairs, PairDraw, TargetOfPairs};
use crate::scaling::{Scaler, TargetScaler, rows_in_pieces};
use crate::step_time;

/// Number of pairs evaluated at a time.
const EVALUATION_ROWS: i64 = 128;

/// Pairs of images, each a set of T tokens of width D.
pub struct TokenPairs {
    /// Tokens of the images that are first views, (I, T, D), of any floating kind.
    pub first: Tensor,
    /// Tokens of the images that are second views, (J, T, D); may be the same tensor.
    pub second: Tensor,
    /// The image of each of N pairs in `first`, (N), int64.
    pub first_rows: Tensor,
    /// The same in `second`.
    pub second_rows: Tensor,
}

/// Targets to predict from the tokens of two views.
pub struct TokenProblem {
    /// Name used in messages.
    pub name: String,
    /// Training pairs; of those that are drawn anew, the first epoch's, on which train R2 is measured.
    pub train: TokenPairs,
    /// Training targets (N, k).
    pub train_t: Tensor,
    /// Draws the rows of later epochs and picks their targets; `None` if all epochs have the same pairs.
    pub redraw: Option<(PairDraw, TargetOfPairs)>,
    /// Test pairs.
    pub test: TokenPairs,
    /// Test targets (M, k).
    pub test_t: Tensor,
}

/// Trains a probe for each of `seeds`, in float32. After each epoch, `progress` is called with the number of
/// finished epochs and the total number of epochs over all seeds.
///
/// Tokens are standardised by the images that are first views in training, and targets by the training
/// targets. A step holds the tokens of its pairs in float32, 8 B T D bytes for B pairs, and two to three
/// times that for the gradient.
///
/// # Errors
/// Fails if there are no seeds, a configuration value is out of range, shapes are inconsistent, values are
/// NaN or infinite, or training diverges.
pub fn fit(
    problem: &TokenProblem,
    seeds: &[u64],
    config: &ProbeConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Fit>> {
    config.validate()?;
    if seeds.is_empty() {
        return Err(Error::Empty { what: "probe seed" });
    }
    tch::no_grad(|| {
        problem.check()?;
        let scaler = Scaler::fit(&problem.train.first.flatten(0, 1));
        let targets = TargetScaler::fit(&problem.train_t);
        let total = seeds.len() * config.epochs;
        let one = |(done, &seed): (usize, &u64)| {
            let shape = Shape::of(problem, config);
            let mut network = Network::new(seed, shape, &scaler, problem.train.first.device());
            let mut tick = |epoch: usize| progress(done * config.epochs + epoch, total);
            train(&mut network, problem, &targets, seed, config, &mut tick);
            let predict = |pairs: &TokenPairs| predictions(&network, pairs, &targets);
            match (predict(&problem.train), predict(&problem.test)) {
                (Some(train), Some(test)) => Ok(Fit {
                    train: R2::from_checked(&train, &problem.train_t),
                    test: R2::from_checked(&test, &problem.test_t),
                    test_squares: squared_residuals(&test, &problem.test_t),
                }),
                _ => Err(Error::Diverged { name: problem.name.clone(), seed }),
            }
        };
        seeds.iter().enumerate().map(one).collect()
    })
}

/// Seconds that a step takes on images of `tokens` (T, D) for `outputs` targets, measured on tokens of ones.
pub fn seconds_per_step(tokens: [i64; 2], outputs: i64, config: &ProbeConfig, device: Device) -> f64 {
    let [count, width] = tokens;
    let batch = config.batch as i64;
    let images = Tensor::ones([batch, count, width], (Kind::Half, device));
    let rows = Tensor::arange(batch, (Kind::Int64, device));
    let pairs = TokenPairs {
        first: images.shallow_clone(),
        second: images,
        first_rows: rows.shallow_clone(),
        second_rows: rows.shallow_clone(),
    };
    let target = Tensor::zeros([batch, outputs], (Kind::Float, device));
    let scaler = Scaler::fit(&Tensor::ones([1, width], (Kind::Float, device)));
    let shape = Shape { width, hidden: config.hidden as i64, outputs };
    let mut network = Network::new(0, shape, &scaler, device);
    let mut adam = Adam::folded(&network.parameters.flat);
    tch::no_grad(|| {
        step_time::seconds(&mut || {
            network.step(&mut adam, &pairs.batch(&rows), &target, config.lr);
            network.parameters.flat.shallow_clone()
        })
    })
}

impl TokenPairs {
    fn len(&self) -> i64 {
        self.first_rows.size()[0]
    }

    /// The tokens of both views of the pairs `order` (B), (B, T, D) each, float32.
    fn batch(&self, order: &Tensor) -> [Tensor; 2] {
        [(&self.first, &self.first_rows), (&self.second, &self.second_rows)]
            .map(|(images, rows)| images.index_select(0, &rows.index_select(0, order)).to_kind(Kind::Float))
    }

    fn check(&self, name: &str, role: TensorRole, size: (i64, i64), pairs: i64) -> Result<()> {
        for (images, rows) in [(&self.first, &self.first_rows), (&self.second, &self.second_rows)] {
            expect_shape(name, role, images, &[images.size()[0], size.0, size.1])?;
            if rows.size() != [pairs] {
                return Err(wrong_shape(name, role, rows, format!("the images of {pairs} pairs")));
            }
            rows_in_pieces(images).try_for_each(|piece| finite(name, role, &piece))?;
        }
        Ok(())
    }
}

impl TokenProblem {
    fn check(&self) -> Result<()> {
        let TokenProblem { name, train, train_t, test, test_t, .. } = self;
        let [images, tokens, width] = train.first.size()[..] else {
            return Err(wrong_shape(name, TensorRole::TrainFeatures, &train.first, "(I, T, D)".into()));
        };
        if images * tokens * width == 0 {
            return Err(wrong_shape(name, TensorRole::TrainFeatures, &train.first, "no axis empty".into()));
        }
        let (pairs, outputs) = matrix(name, TensorRole::TrainTargets, train_t)?;
        let (test_pairs, _) = matrix(name, TensorRole::TestTargets, test_t)?;
        expect_shape(name, TensorRole::TestTargets, test_t, &[test_pairs, outputs])?;
        finite(name, TensorRole::TrainTargets, train_t)?;
        finite(name, TensorRole::TestTargets, test_t)?;
        train.check(name, TensorRole::TrainFeatures, (tokens, width), pairs)?;
        test.check(name, TensorRole::TestFeatures, (tokens, width), test_pairs)
    }
}

/// Widths of a network.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Width of a token, D.
    width: i64,
    /// Hidden units of the MLP, U.
    hidden: i64,
    /// Outputs, k.
    outputs: i64,
}

impl Shape {
    fn of(problem: &TokenProblem, config: &ProbeConfig) -> Shape {
        Shape {
            width: problem.train.first.size()[2],
            hidden: config.hidden as i64,
            outputs: problem.train_t.size()[1],
        }
    }

    /// Inputs and outputs of the layers of the MLP.
    fn layers(self) -> [(i64, i64); 3] {
        let Shape { width, hidden, outputs } = self;
        [(2 * width, hidden), (hidden, hidden), (hidden, outputs)]
    }
}

/// Pooling and MLP.
struct Network {
    parameters: FlatParameters,
    pooling: Pooling,
    /// Weight (outputs, inputs) and bias (outputs) of the three layers.
    mlp: [(Tensor, Tensor); 3],
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a network of {} parameters", self.parameters.flat.numel())
    }
}

impl Network {
    /// A network with weights drawn like those of torch's `Linear`. The MLP has the weights that
    /// [`crate::mlp`] draws for the same seed.
    fn new(seed: u64, shape: Shape, scaler: &Scaler, device: Device) -> Network {
        let layers = shape.layers().into_iter().zip(0..);
        let mlp = layers.flat_map(|((inputs, outputs), layer)| {
            let (weight, bias) = linear_layer(seed, layer, inputs, outputs, device);
            [weight, bias]
        });
        let drawn: Vec<Tensor> = mlp.chain(Pooling::draw(seed, 3, shape.width, device)).collect();
        let parameters = FlatParameters::new(&drawn);
        let leaf = |place: usize| parameters.leaves[place].shallow_clone();
        let mlp = [0, 2, 4].map(|place| (leaf(place), leaf(place + 1)));
        let pooling = Pooling::new([leaf(6), leaf(7), leaf(8)], scaler);
        Network { parameters, pooling, mlp }
    }

    /// Tokens of both views, (B, T, D) each -> predictions (B, k) of standardised targets.
    fn predict(&self, [first, second]: &[Tensor; 2]) -> Tensor {
        let x = Tensor::cat(&[self.pooling.pool(first), self.pooling.pool(second)], 1);
        let [one, two, three] = &self.mlp;
        let layer = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| x.linear(weight, Some(bias));
        layer(&layer(&layer(&x, one).relu(), two).relu(), three)
    }

    /// Gradient of the mean squared error, like the flat parameters.
    fn gradient(&self, tokens: &[Tensor; 2], target: &Tensor) -> Tensor {
        self.parameters.gradient(|| self.predict(tokens).mse_loss(target, tch::Reduction::Mean))
    }

    /// A step on pairs with standardised targets (B, k).
    fn step(&mut self, adam: &mut Adam, tokens: &[Tensor; 2], target: &Tensor, lr: f64) {
        let gradients = self.gradient(tokens, target);
        let buffers = Buffers { values: &mut self.parameters.flat, gradients: &gradients, copy: None };
        adam.update_buffers(buffers, lr);
    }
}

fn train(
    network: &mut Network,
    problem: &TokenProblem,
    scaler: &TargetScaler,
    seed: u64,
    config: &ProbeConfig,
    tick: &mut dyn FnMut(usize),
) {
    let mut adam = Adam::folded(&network.parameters.flat);
    let (rows, device) = (problem.train.len(), problem.train.first.device());
    let step = (config.batch as i64).min(rows);
    for epoch in 0..config.epochs as u64 {
        let (pairs, targets) = pairs_of_epoch(problem, epoch);
        let targets = scaler.apply(&targets);
        let order = permutation(seed, epoch, Purpose::ProbeOrder, rows);
        let order = Tensor::from_slice(&order).to_device(device);
        for start in (0..rows).step_by(step as usize) {
            let order = order.narrow(0, start, step.min(rows - start));
            network.step(&mut adam, &pairs.batch(&order), &targets.index_select(0, &order), config.lr);
        }
        tick(epoch as usize + 1);
    }
}

/// The training pairs of an epoch with their targets. The tokens are shared, not copied.
fn pairs_of_epoch(problem: &TokenProblem, epoch: u64) -> (TokenPairs, Tensor) {
    let TokenPairs { first, second, first_rows, second_rows } = &problem.train;
    let of_rows = |first_rows: Tensor, second_rows: Tensor| TokenPairs {
        first: first.shallow_clone(),
        second: second.shallow_clone(),
        first_rows,
        second_rows,
    };
    match &problem.redraw {
        Some((draw, target)) if epoch > 0 => {
            let EpochPairs { first, second, parameters } = draw(epoch);
            (of_rows(first, second), target(&parameters, epoch))
        }
        _ => (
            of_rows(first_rows.shallow_clone(), second_rows.shallow_clone()),
            problem.train_t.shallow_clone(),
        ),
    }
}

/// Predictions (N, k) in the unit of the targets, on the CPU; `None` if one of them is not finite.
fn predictions(network: &Network, pairs: &TokenPairs, scaler: &TargetScaler) -> Option<Tensor> {
    let rows = pairs.len();
    let piece = |start: i64| {
        let order = Tensor::arange_start(
            start,
            rows.min(start + EVALUATION_ROWS),
            (Kind::Int64, pairs.first_rows.device()),
        );
        scaler.undo(&network.predict(&pairs.batch(&order)))
    };
    let pieces: Vec<Tensor> = (0..rows).step_by(EVALUATION_ROWS as usize).map(piece).collect();
    let predictions = Tensor::cat(&pieces, 0).to_device(Device::Cpu);
    let usable = predictions.isfinite().all().int64_value(&[]) == 1;
    usable.then_some(predictions)
}

#[cfg(test)]
mod tests {
    use eqr_models::test_device::test_device;
    use std::rc::Rc;
    use std::time::Instant;

    use super::*;
    use crate::{Problem, mlp};

    fn noise(size: &[i64], frequency: f64) -> Tensor {
        let count: i64 = size.iter().product();
        let wave = (Tensor::arange(count, (Kind::Double, test_device())) * frequency).sin() * 43_758.545_3;
        let unit: Tensor = &wave - wave.floor();
        (unit * 2.0 - 1.0).to_kind(Kind::Float).view(size)
    }

    /// Tokens with an offset, and channels of unequal spread.
    fn tokens() -> Tensor {
        noise(&[6, 7, 24], 12.9898) * noise(&[24], 0.7).exp() + 3.0
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (first, second) = (tokens(), tokens().flip([0]));
        let scaler = Scaler::fit(&first.flatten(0, 1));
        let mut network = Network::new(3, Shape { width: 24, hidden: 5, outputs: 2 }, &scaler, test_device());
        let _ = network.parameters.flat.g_mul_scalar_(2.0);
        let target = noise(&[6, 2], 5.3);
        let gradient = network.gradient(&[first.copy(), second.copy()], &target);
        let loss = |network: &Network| {
            let tokens = [first.shallow_clone(), second.shallow_clone()];
            network.predict(&tokens).mse_loss(&target, tch::Reduction::Mean).double_value(&[])
        };
        // a step along the gradient changes the loss by its squared length
        let length = gradient.norm().double_value(&[]);
        let along = &gradient / length;
        let step = 1e-2;
        let shift = |network: &mut Network, by: f64| {
            let _ = network.parameters.flat.g_add_(&(&along * by));
        };
        shift(&mut network, step);
        let above = loss(&network);
        shift(&mut network, -2.0 * step);
        let slope = (above - loss(&network)) / (2.0 * step);
        assert!((slope / length - 1.0).abs() < 1e-2, "{slope} {length}");
    }

    /// The parameter is in one token of the second view, whose place varies and which a flag marks. The same
    /// channel of all other tokens is noise.
    fn planted(pairs: i64, frequency: f64) -> (TokenPairs, Tensor) {
        let places = 9;
        let place = (noise(&[pairs], frequency).abs() * places as f64).floor().to_kind(Kind::Int64);
        let flag = place.clamp(0, places - 1).one_hot(places).to_kind(Kind::Float).unsqueeze(2); // (N, T, 1)
        let value = noise(&[pairs, places, 1], frequency + 1.0);
        let target = (&value * &flag).sum_dim_intlist([1i64].as_slice(), false, None); // (N, 1)
        let rest = noise(&[pairs, places, 2], frequency + 2.0);
        let tokens = Tensor::cat(&[flag * 3.0, value, rest], 2);
        let rows = Tensor::arange(pairs, (Kind::Int64, test_device()));
        let (first, second_rows) = (noise(&[pairs, places, 4], frequency + 3.0), rows.copy());
        (TokenPairs { first, second: tokens, first_rows: rows, second_rows }, target)
    }

    #[test]
    fn one_token_among_many_is_found_where_the_mean_fails() {
        let (train, train_t) = planted(1500, 12.9898);
        let (test, test_t) = planted(500, 7.77);
        let mean = |pairs: &TokenPairs| {
            let means = [&pairs.first, &pairs.second].map(|x| x.mean_dim([1i64].as_slice(), false, None));
            Tensor::cat(&means, 1)
        };
        let config = ProbeConfig { hidden: 32, epochs: 40, batch: 50, lr: 3e-3 };
        let pooled = Problem {
            name: "mean".into(),
            train_x: mean(&train),
            train_t: train_t.copy(),
            redraw: None,
            test_x: mean(&test),
            test_t: test_t.copy(),
        };
        let by_mean = mlp::fit(&[pooled], &[0], &config).unwrap()[0][0].test.per_output.unwrap();
        let problem = TokenProblem { name: "tokens".into(), train, train_t, redraw: None, test, test_t };
        let fits = fit(&problem, &[0, 1], &config, &mut |_, _| {}).unwrap();
        for fit in &fits {
            assert!(fit.test.per_output.unwrap() > 0.9, "{:?}", fit.test);
        }
        assert!(by_mean < 0.25, "{by_mean}");
        assert_ne!(fits[0].test, fits[1].test);
    }

    /// Pairs that later epochs draw are those that the probe learns from.
    #[test]
    fn later_epochs_have_their_own_pairs() {
        let (train, train_t) = planted(400, 12.9898);
        let (test, test_t) = planted(200, 7.77);
        let drawn = Rc::new(std::cell::RefCell::new(Vec::new()));
        let seen = drawn.clone();
        let draw: PairDraw = Rc::new(move |epoch| {
            seen.borrow_mut().push(epoch);
            let rows = Tensor::arange(400, (Kind::Int64, test_device())).roll([epoch as i64], [0]);
            EpochPairs { first: rows.copy(), second: rows, parameters: noise(&[400, 1], 3.3) }
        });
        let target: TargetOfPairs = Rc::new(|parameters, _| parameters.copy());
        let config = ProbeConfig { hidden: 8, epochs: 3, batch: 100, lr: 1e-3 };
        let fixed = TokenProblem { name: "x".into(), train, train_t, redraw: None, test, test_t };
        let once = fit(&fixed, &[0], &config, &mut |_, _| {}).unwrap();
        let changing = TokenProblem { redraw: Some((draw, target)), ..fixed };
        let anew = fit(&changing, &[0], &config, &mut |_, _| {}).unwrap();
        assert_eq!(*drawn.borrow(), [1, 2]);
        assert_ne!(once, anew);
    }

    /// Steps are as long as those of a training, up to what else the machine does.
    #[test]
    fn the_time_of_a_step_is_that_of_training() {
        let config = ProbeConfig { hidden: 64, epochs: 12, batch: 64, lr: 1e-3 };
        let pairs = |count: i64| {
            let rows = Tensor::arange(count, (Kind::Int64, test_device()));
            let images = noise(&[count, 50, 96], 12.9898).to_kind(Kind::Half);
            let (first, second) = (images.copy(), images);
            TokenPairs { first, second, first_rows: rows.copy(), second_rows: rows }
        };
        let target = |count: i64| noise(&[count, 1], 3.3);
        let (train, train_t, test, test_t) = (pairs(64), target(64), pairs(2), target(2));
        let problem = TokenProblem { name: "time".into(), train, train_t, redraw: None, test, test_t };
        // the shortest of several epochs of one step
        let mut ends = Vec::new();
        fit(&problem, &[0], &config, &mut |_, _| ends.push(Instant::now())).unwrap();
        let epochs = ends.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let trained = epochs.fold(f64::INFINITY, f64::min);
        let steps = (0..12).map(|_| seconds_per_step([50, 96], 1, &config, test_device()));
        let measured = steps.fold(f64::INFINITY, f64::min);
        assert!((trained / 3.0..trained * 3.0).contains(&measured), "{measured} {trained}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let problem = || {
            let (train, train_t) = planted(20, 12.9898);
            let (test, test_t) = planted(10, 7.77);
            TokenProblem { name: "colour".into(), train, train_t, redraw: None, test, test_t }
        };
        let error = |problem: TokenProblem| {
            let config = ProbeConfig { hidden: 4, epochs: 1, batch: 10, lr: 1e-3 };
            fit(&problem, &[0], &config, &mut |_, _| {}).unwrap_err().to_string()
        };
        let mut narrow = problem();
        narrow.test.second = narrow.test.second.narrow(2, 0, 3);
        assert!(error(narrow).contains("colour: test features have shape [10, 9, 3]"));
        let mut infinite = problem();
        infinite.train.second = &infinite.train.second / 0.0;
        assert!(error(infinite).contains("NaN or infinite"));
        let mut few = problem();
        few.train.first_rows = few.train.first_rows.narrow(0, 0, 5);
        assert!(error(few).contains("the images of 20 pairs"));
    }
}
