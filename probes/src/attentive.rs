//! Attentive probe: it learns how to pool the tokens of an image, and predicts from what it has pooled.
//!
//! The pooling is the multi-head attention of one learned query over the tokens, as in the attentive probes
//! of AIM (El-Nouby et al. 2024, "Scalable pre-training of large autoregressive image models", section on
//! probing) and, with more layers, of V-JEPA (Bardes et al. 2024). For the head h with its query q_h, and
//! tokens x_t standardised per channel,
//!
//! ```text
//! a_ht = softmax_t <q_h, K_h x_t> / sqrt(d_h),   p = concat_h  V_h sum_t a_ht x_t.
//! ```
//!
//! Both views of a pair are pooled by the same query. The MLP of the protocol ([`crate::mlp`]) predicts the
//! target from p of the first view and p of the second; it has the same layers, targets, seeds, order of
//! rows, epochs, batches and learning rate as there, and its scores are comparable. Everything is trained
//! together.
//!
//! One query makes attention cheap: K_h enters as K_h' q_h, and V_h is applied after the sum, so that no
//! token is ever mapped. Neither is any standardised: the softmax does not see an offset of all tokens, and
//! weights that sum to 1 let the mean be subtracted after the sum.

use std::fmt;

use eqr_models::adam::{Adam, Buffers};
use eqr_random::Purpose;
use tch::{Device, Kind, Tensor};

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::draws::{linear_layer, permutation};
use crate::error::{Error, Result, TensorRole};
use crate::mlp::{Fit, ProbeConfig};
use crate::r2::{R2, squared_residuals};
use crate::redraw::{EpochPairs, PairDraw, TargetOfPairs};
use crate::scaling::{Scaler, TargetScaler, rows_in_pieces};

/// Most attention heads, as AIM has them. A width that is no multiple of it has fewer.
const HEADS: i64 = 12;

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

/// Number of attention heads for tokens of width `width`: the largest up to 12 that divides it.
fn heads(width: i64) -> i64 {
    (1..=HEADS).rev().find(|heads| width % heads == 0).expect("1 divides every width")
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

    /// Inputs and outputs of the layers: those of the MLP, then those of attention.
    fn layers(self) -> [(i64, i64); 6] {
        let Shape { width, hidden, outputs } = self;
        [(2 * width, hidden), (hidden, hidden), (hidden, outputs), (width, width), (width, width), (width, 1)]
    }
}

/// The query with its projections, and the MLP.
struct Network {
    /// All parameters one after the other, which the optimiser changes.
    flat: Tensor,
    /// Views of `flat` that gradients are taken of.
    leaves: Leaves,
    /// Mean of each channel, (1, 1, D).
    mean: Tensor,
    /// One over the standard deviation of each channel, (1, 1, D).
    rate: Tensor,
}

/// Parameters by their role, in the order in which they lie in memory.
struct Leaves {
    /// (outputs, inputs) and (outputs) of the three layers of the MLP.
    mlp: [(Tensor, Tensor); 3],
    /// K, (D, D): the rows of each head are together.
    key: Tensor,
    /// V, (D, D).
    value: Tensor,
    /// q, (1, D).
    query: Tensor,
}

impl Leaves {
    fn all(&self) -> Vec<&Tensor> {
        let mlp = self.mlp.iter().flat_map(|(weight, bias)| [weight, bias]);
        mlp.chain([&self.key, &self.value, &self.query]).collect()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a network of {} parameters", self.flat.numel())
    }
}

impl Network {
    /// A network with weights drawn like those of torch's `Linear`. The MLP has the weights that
    /// [`crate::mlp`] draws for the same seed.
    fn new(seed: u64, shape: Shape, scaler: &Scaler, device: Device) -> Network {
        let layers = shape.layers().into_iter().enumerate();
        let drawn: Vec<(Tensor, Tensor)> = layers
            .map(|(layer, (inputs, outputs))| linear_layer(seed, layer as u64, inputs, outputs, device))
            .collect();
        let with_bias = drawn[..3].iter().flat_map(|(weight, bias)| [weight, bias]);
        let drawn: Vec<&Tensor> = with_bias.chain(drawn[3..].iter().map(|(weight, _)| weight)).collect();
        let flat = Tensor::cat(&drawn.iter().map(|tensor| tensor.flatten(0, -1)).collect::<Vec<_>>(), 0);
        let mut start = 0;
        let leaf = |tensor: &&Tensor| {
            let length = tensor.numel() as i64;
            start += length;
            flat.narrow(0, start - length, length).view(&tensor.size()[..]).detach().set_requires_grad(true)
        };
        let mut leaves = drawn.iter().map(leaf).collect::<Vec<_>>().into_iter();
        let mut next = || leaves.next().expect("nine parameters");
        let mlp = [(); 3].map(|()| (next(), next()));
        let (key, value, query) = (next(), next(), next());
        let (mean, rate) = scaler.mean_and_rate();
        let per_channel = |t: Tensor| t.view([1, 1, shape.width]);
        let leaves = Leaves { mlp, key, value, query };
        Network { leaves, flat, mean: per_channel(mean), rate: per_channel(rate) }
    }

    /// Tokens (B, T, D) -> pooled features (B, D).
    fn pool(&self, tokens: &Tensor) -> Tensor {
        let Leaves { key, value, query, .. } = &self.leaves;
        let [batch, _, width] = tokens.size()[..] else { unreachable!("tokens are (B, T, D)") };
        let heads = heads(width);
        let depth = width / heads;
        let of_heads = |weight: &Tensor| weight.view([heads, depth, width]);
        // (H, 1, d) (H, d, D) -> (1, H, D): what every token is compared with
        let compared = query.view([heads, 1, depth]).bmm(&of_heads(key)).view([1, heads, width]);
        let compared = compared * &self.rate / (depth as f64).sqrt();
        let scores = tokens.matmul(&compared.squeeze_dim(0).tr()); // (B, T, H)
        let weights = scores.softmax(1, Kind::Float).transpose(1, 2);
        let mixed = (weights.bmm(tokens) - &self.mean) * &self.rate; // (B, H, D)
        let pooled = mixed.transpose(0, 1).bmm(&of_heads(value).transpose(1, 2)); // (H, B, d)
        pooled.transpose(0, 1).reshape([batch, width])
    }

    /// Tokens of both views, (B, T, D) each -> predictions (B, k) of standardised targets.
    fn predict(&self, [first, second]: &[Tensor; 2]) -> Tensor {
        let x = Tensor::cat(&[self.pool(first), self.pool(second)], 1);
        let [one, two, three] = &self.leaves.mlp;
        let layer = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| x.linear(weight, Some(bias));
        layer(&layer(&layer(&x, one).relu(), two).relu(), three)
    }

    /// Gradient of the mean squared error, like `flat`.
    fn gradient(&self, tokens: &[Tensor; 2], target: &Tensor) -> Tensor {
        tch::with_grad(|| {
            let loss = self.predict(tokens).mse_loss(target, tch::Reduction::Mean);
            let gradients = Tensor::run_backward(&[loss], &self.leaves.all(), false, false);
            Tensor::cat(&gradients.iter().map(|gradient| gradient.flatten(0, -1)).collect::<Vec<_>>(), 0)
        })
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
    let mut adam = Adam::folded(&network.flat);
    let (rows, device) = (problem.train.len(), problem.train.first.device());
    let step = (config.batch as i64).min(rows);
    for epoch in 0..config.epochs as u64 {
        let (pairs, targets) = pairs_of_epoch(problem, epoch);
        let targets = scaler.apply(&targets);
        let order = permutation(seed, epoch, Purpose::ProbeOrder, rows);
        let order = Tensor::from_slice(&order).to_device(device);
        for start in (0..rows).step_by(step as usize) {
            let order = order.narrow(0, start, step.min(rows - start));
            let mut gradients = network.gradient(&pairs.batch(&order), &targets.index_select(0, &order));
            let buffers = Buffers { values: &mut network.flat, gradients: &mut gradients, copy: None };
            adam.update_buffers(buffers, config.lr);
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
    use std::rc::Rc;

    use super::*;
    use crate::{Problem, mlp};

    fn noise(size: &[i64], frequency: f64) -> Tensor {
        let count: i64 = size.iter().product();
        let wave = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * frequency).sin() * 43_758.545_3;
        let unit: Tensor = &wave - wave.floor();
        (unit * 2.0 - 1.0).to_kind(Kind::Float).view(size)
    }

    fn network(tokens: &Tensor) -> Network {
        let shape = Shape { width: tokens.size()[2], hidden: 5, outputs: 2 };
        Network::new(3, shape, &Scaler::fit(&tokens.flatten(0, 1)), Device::Cpu)
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!(a.size(), b.size());
        (a - b).abs().max().double_value(&[])
    }

    /// Tokens with an offset, and channels of unequal spread.
    fn tokens() -> Tensor {
        noise(&[6, 7, 24], 12.9898) * noise(&[24], 0.7).exp() + 3.0
    }

    fn standardised(tokens: &Tensor) -> Tensor {
        let rows = tokens.flatten(0, 1);
        let mean = rows.mean_dim([0i64].as_slice(), true, None);
        let std = rows.std_dim([0i64].as_slice(), false, true);
        ((rows - mean) / std).view_as(tokens)
    }

    #[test]
    fn pooling_is_torchs_attention_of_one_query() {
        let tokens = tokens();
        let network = network(&tokens);
        let _ = network.flat.shallow_clone().g_mul_scalar_(8.0); // so that attention is far from uniform
        let Leaves { key, value, query, .. } = &network.leaves;
        assert_eq!(heads(24), 12);
        let of_heads = |x: &Tensor| x.view([6, -1, 12, 2]).transpose(1, 2); // (B, H, T, d)
        let x = standardised(&tokens);
        let [keys, values] = [key, value].map(|weight| of_heads(&x.matmul(&weight.tr())));
        let query = query.expand([6, 24], false);
        let expected = Tensor::scaled_dot_product_attention(
            &of_heads(&query),
            &keys,
            &values,
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        let expected = expected.transpose(1, 2).reshape([6, 24]);
        assert!(worst(&network.pool(&tokens), &expected) < 1e-4 * expected.abs().max().double_value(&[]));
    }

    #[test]
    fn a_query_of_zeros_takes_the_mean() {
        let tokens = tokens();
        let network = network(&tokens);
        let _ = tch::no_grad(|| network.leaves.query.shallow_clone().zero_());
        let mean = standardised(&tokens).mean_dim([1i64].as_slice(), false, None);
        assert!(worst(&network.pool(&tokens), &mean.matmul(&network.leaves.value.tr())) < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (first, second) = (tokens(), tokens().flip([0]));
        let mut network = network(&first);
        let _ = network.flat.g_mul_scalar_(2.0);
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
            let _ = network.flat.g_add_(&(&along * by));
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
        let rows = Tensor::arange(pairs, (Kind::Int64, Device::Cpu));
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
            let rows = Tensor::arange(400, (Kind::Int64, Device::Cpu)).roll([epoch as i64], [0]);
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
