//! Regression probe of protocol section 4: a three-layer MLP on frozen features. All problems and seeds are
//! trained together.

use std::rc::Rc;

use crate::checks::{check_above_zero, check_positive};
use crate::draws::permutation;
use crate::error::{Error, Result};
use crate::mlp_stack::{NetworkSpec, Sizes, Stack, Training};
use crate::problem::Problem;
use crate::r2::{R2, squared_residuals};
use crate::redraw::{EpochPairs, PairDraw};
use crate::scaling::{Scaler, TargetScaler};
use eqr_random::Purpose;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Number of rows evaluated at a time, to limit the memory of a forward pass over a large split.
const EVALUATION_ROWS: i64 = 1024;

/// Configuration of a probe and its training. The default is the protocol's (section 4). Adam uses betas 0.9
/// and 0.999, eps 1e-8 and no weight decay. The weights after the last epoch are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Width of both hidden layers, at least 1.
    pub hidden: usize,
    /// Passes over the training split, at least 1.
    pub epochs: usize,
    /// Rows per step, at least 1. The last step of an epoch takes the remaining rows.
    pub batch: usize,
    /// Adam's constant learning rate, above 0.
    pub lr: f64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        ProbeConfig { hidden: 1024, epochs: 300, batch: 256, lr: 1e-3 }
    }
}

/// Floating-point type of the probes' matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32 throughout.
    Fp32,
    /// bfloat16 in the products of training. Weights, optimiser and evaluation stay float32.
    Bf16,
}

impl Precision {
    fn kind(self) -> Kind {
        match self {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}

/// R2 of one trained probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// On the training split.
    pub train: R2,
    /// On the test split.
    pub test: R2,
    /// Squared residuals of the test split, row by row (M k values).
    pub test_squares: Vec<f64>,
}

/// Trains a probe for every problem and seed. The result is indexed `[problem][seed]`, in the order of the
/// arguments.
///
/// Features and targets are standardised by the training split, and predictions are mapped back. Except for
/// rounding, a probe depends only on its problem, its seed and the configuration. It does not depend on the
/// other problems or their order. The seed determines the initial weights and the order of the rows in each
/// epoch. Both are the same for all problems. Problems with the same (N, D) form one stack of networks, and
/// the stacks are trained one after another.
///
/// # Errors
/// Fails if there are no problems or seeds, a configuration value is out of range, shapes are inconsistent,
/// values are NaN or infinite (the message names the problem and the tensor), or training diverges.
pub fn fit(problems: &[Problem], seeds: &[u64], config: &ProbeConfig) -> Result<Vec<Vec<Fit>>> {
    fit_with_progress(Precision::Fp32, problems, seeds, config, &mut |_, _| {})
}

/// Like [`fit`], but trains in `precision`. After each epoch, `progress` is called with the number of
/// finished epochs and the total number of epochs over all stacks.
///
/// # Errors
/// Same as [`fit`].
pub fn fit_with_progress(
    precision: Precision,
    problems: &[Problem],
    seeds: &[u64],
    config: &ProbeConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<Fit>>> {
    config.validate()?;
    if problems.is_empty() {
        return Err(Error::Empty { what: "problem" });
    }
    if seeds.is_empty() {
        return Err(Error::Empty { what: "probe seed" });
    }
    tch::no_grad(|| {
        problems.iter().try_for_each(Problem::check)?;
        let groups = groups(problems);
        let total = groups.len() * config.epochs;
        let mut fits: Vec<(usize, Vec<Fit>)> = Vec::with_capacity(problems.len());
        for (done, group) in groups.iter().enumerate() {
            let members: Vec<&Problem> = group.iter().map(|&p| &problems[p]).collect();
            let mut tick = |epoch: usize| progress(done * config.epochs + epoch, total);
            fits.extend(group.iter().copied().zip(fit_group(&members, seeds, config, precision, &mut tick)?));
        }
        fits.sort_by_key(|(problem, _)| *problem);
        Ok(fits.into_iter().map(|(_, fit)| fit).collect())
    })
}

/// `targets` (N, k) with its rows in a random order that depends on `seed`, `epoch` and N. These are the
/// training targets of the row "Shuffled targets"; the epoch is 0 if all epochs have the same rows. They
/// contain no information about the test targets, which are not shuffled.
///
/// A single permutation of N rows still correlates with the original order by chance. If features explain a
/// share R2 of an output, its shuffled score varies around zero (or around a lower value if the probe
/// overfits) by about 2 sqrt(R2 / N), which is 0.02 for 10,000 rows and R2 = 1. For a small data set, use the
/// mean over several permutations.
///
/// # Panics
/// Panics if `targets` is zero-dimensional.
pub fn permuted(targets: &Tensor, seed: u64, epoch: u64) -> Tensor {
    let order = permutation(seed, epoch, Purpose::TargetPermutation, targets.size()[0]);
    targets.index_select(0, &Tensor::from_slice(&order).to_device(targets.device()))
}

impl ProbeConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// Returns [`Error::Config`] with the key, the value found and the valid range.
    pub fn validate(&self) -> Result<()> {
        check_positive("hidden", self.hidden)?;
        check_positive("epochs", self.epochs)?;
        check_positive("batch", self.batch)?;
        check_above_zero("lr", self.lr)
    }
}

/// Indices of the problems that train as one stack. Stacks are in the order of their first problem.
fn groups(problems: &[Problem]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let key = |p: usize| (problems[p].train_x.size(), problems[p].train_x.device());
    for p in 0..problems.len() {
        match groups.iter_mut().find(|group| key(group[0]) == key(p)) {
            Some(group) => group.push(p),
            None => groups.push(vec![p]),
        }
    }
    groups
}

/// The training rows of a group in the current epoch. Each distinct feature tensor is stored once.
struct Inputs {
    training: Training,
    kind: Kind,
    /// Statistics of each distinct feature tensor.
    scalers: Vec<Scaler>,
    /// Statistics of each problem's targets.
    target_scalers: Vec<TargetScaler>,
    /// Outputs of the widest problem.
    widest: i64,
    /// Index of the feature tensor of each problem.
    feature_of: Vec<usize>,
}

impl Inputs {
    fn new(problems: &[&Problem], kind: Kind) -> Inputs {
        let mut distinct: Vec<&Tensor> = Vec::new();
        let mut feature_of = Vec::with_capacity(problems.len());
        for problem in problems {
            let position = distinct.iter().position(|x| same_memory(x, &problem.train_x));
            feature_of.push(position.unwrap_or(distinct.len()));
            if position.is_none() {
                distinct.push(&problem.train_x);
            }
        }
        let scalers: Vec<Scaler> = distinct.iter().map(|x| Scaler::fit(x)).collect();
        let features =
            scalers.iter().zip(&distinct).map(|(scaler, x)| scaler.apply_float(x).to_kind(kind)).collect();
        let target_scalers: Vec<TargetScaler> =
            problems.iter().map(|problem| TargetScaler::fit(&problem.train_t)).collect();
        let widest = problems.iter().map(|p| p.outputs()).max().unwrap_or(0);
        let targets = target_scalers
            .iter()
            .zip(problems)
            .map(|(scaler, problem)| padded(&scaler.apply(&problem.train_t), widest))
            .collect();
        let training = Training { features, targets };
        Inputs { training, kind, scalers, target_scalers, widest, feature_of }
    }

    /// Replaces the rows of the problems whose pairs are drawn anew by those of `epoch`.
    fn redraw(&mut self, problems: &[&Problem], epoch: u64) {
        let mut drawn: Vec<(&PairDraw, EpochPairs)> = Vec::new();
        for (p, problem) in problems.iter().enumerate() {
            let Some(redraw) = &problem.redraw else { continue };
            let known = drawn.iter().position(|(draw, _)| Rc::ptr_eq(draw, &redraw.pairs));
            let place = known.unwrap_or(drawn.len());
            if known.is_none() {
                drawn.push((&redraw.pairs, (redraw.pairs)(epoch)));
            }
            let pairs = &drawn[place].1;
            let feature = self.feature_of[p];
            if !self.feature_of[..p].contains(&feature) {
                let x = self.scalers[feature].apply_float(&redraw.features(pairs));
                self.training.features[feature] = x.to_kind(self.kind);
            }
            let targets = self.target_scalers[p].apply(&redraw.targets(pairs, epoch));
            self.training.targets[p] = padded(&targets, self.widest);
        }
    }

    /// One network for each problem and seed, ordered by problem.
    fn networks(&self, problems: &[&Problem], seeds: &[u64]) -> Vec<NetworkSpec> {
        let network = |p: usize, s: usize| NetworkSpec {
            features: self.feature_of[p],
            targets: p,
            outputs: problems[p].outputs(),
            order: s,
            seed: seeds[s],
        };
        (0..problems.len()).flat_map(|p| (0..seeds.len()).map(move |s| network(p, s))).collect()
    }
}

/// `targets` (N, k) with columns of zeros up to `columns`.
fn padded(targets: &Tensor, columns: i64) -> Tensor {
    targets.constant_pad_nd([0, columns - targets.size()[1]])
}

/// Whether two tensors are the same view of the same memory.
fn same_memory(a: &Tensor, b: &Tensor) -> bool {
    a.data_ptr() == b.data_ptr() && a.size() == b.size() && a.stride() == b.stride() && a.kind() == b.kind()
}

/// Trains and evaluates problems with the same (N, D). The result is indexed `[problem][seed]`.
fn fit_group(
    problems: &[&Problem],
    seeds: &[u64],
    config: &ProbeConfig,
    precision: Precision,
    tick: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<Fit>>> {
    let mut inputs = Inputs::new(problems, precision.kind());
    let stack = train(&mut inputs, problems, seeds, config, tick);
    let one = |p: usize, s: usize| {
        let (problem, network) = (problems[p], p * seeds.len() + s);
        let scalers = (&inputs.scalers[inputs.feature_of[p]], &inputs.target_scalers[p]);
        let outputs = problem.outputs();
        let train = predict(&stack, network, scalers, &problem.train_x, outputs);
        let test = predict(&stack, network, scalers, &problem.test_x, outputs);
        match (train, test) {
            (Some(train), Some(test)) => Ok(Fit {
                train: R2::from_checked(&train, &problem.train_t),
                test: R2::from_checked(&test, &problem.test_t),
                test_squares: squared_residuals(&test, &problem.test_t),
            }),
            _ => Err(Error::Diverged { name: problem.name.clone(), seed: seeds[s] }),
        }
    };
    (0..problems.len()).map(|p| (0..seeds.len()).map(|s| one(p, s)).collect()).collect()
}

fn train(
    inputs: &mut Inputs,
    problems: &[&Problem],
    seeds: &[u64],
    config: &ProbeConfig,
    tick: &mut dyn FnMut(usize),
) -> Stack {
    let [rows, input] = inputs.training.features[0].size()[..] else { unreachable!("features are (N, D)") };
    let device = inputs.training.features[0].device();
    let output = inputs.training.targets[0].size()[1];
    let sizes = Sizes { input, hidden: config.hidden as i64, output, lr: config.lr };
    let step = (config.batch as i64).min(rows);
    let batch_sizes: Vec<i64> = [step, rows % step].into_iter().filter(|&size| size > 0).collect();
    let mut stack = Stack::new(sizes, &inputs.networks(problems, seeds), &batch_sizes, &inputs.training);
    for epoch in 0..config.epochs {
        if epoch > 0 {
            inputs.redraw(problems, epoch as u64);
        }
        let order = epoch_order(seeds, epoch, rows, device);
        for start in (0..rows).step_by(step as usize) {
            stack.step(&inputs.training, &order.narrow(1, start, step.min(rows - start)));
        }
        tick(epoch + 1);
    }
    stack
}

/// Order of the rows in one epoch, (S, N): a different permutation for each seed.
fn epoch_order(seeds: &[u64], epoch: usize, rows: i64, device: Device) -> Tensor {
    let order: Vec<i64> =
        seeds.iter().flat_map(|&seed| permutation(seed, epoch as u64, Purpose::ProbeOrder, rows)).collect();
    Tensor::from_slice(&order).view([seeds.len() as i64, rows]).to_device(device)
}

/// Predictions (R, k) of a network for features (R, D) that are not standardised yet, with k = `outputs`, on
/// the CPU. `None` if one of them is not finite.
fn predict(
    stack: &Stack,
    network: usize,
    (scaler, target_scaler): (&Scaler, &TargetScaler),
    features: &Tensor,
    outputs: i64,
) -> Option<Tensor> {
    let rows = features.size()[0];
    let piece = |start: i64| {
        let x = features.narrow(0, start, EVALUATION_ROWS.min(rows - start));
        target_scaler.undo(&stack.predict(network, &scaler.apply_float(&x)).narrow(1, 0, outputs))
    };
    let pieces: Vec<Tensor> = (0..rows).step_by(EVALUATION_ROWS as usize).map(piece).collect();
    let predictions = Tensor::cat(&pieces, 0).to_device(Device::Cpu);
    let usable = predictions.isfinite().all().int64_value(&[]) == 1;
    usable.then_some(predictions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    fn problem(name: &str, rows: i64, features: i64, outputs: i64) -> Problem {
        let x = (Tensor::arange(rows * features, (Kind::Float, test_device())) * 1.7)
            .sin()
            .view([rows, features]);
        let t = x.narrow(1, 0, outputs).copy();
        Problem {
            name: name.into(),
            test_x: x.shallow_clone(),
            test_t: t.shallow_clone(),
            train_x: x,
            train_t: t,
            redraw: None,
        }
    }

    #[test]
    fn default_is_the_protocols() {
        let config = ProbeConfig::default();
        assert_eq!((config.hidden, config.epochs, config.batch, config.lr), (1024, 300, 256, 1e-3));
    }

    #[test]
    fn problems_of_one_shape_train_together() {
        let problems = [problem("a", 9, 4, 1), problem("b", 9, 5, 1), problem("c", 9, 4, 3)];
        assert_eq!(groups(&problems), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn shared_features_are_stored_once() {
        let (a, b) = (problem("a", 9, 4, 1), problem("b", 9, 4, 2));
        let c = Problem { train_x: a.train_x.shallow_clone(), ..problem("c", 9, 4, 3) };
        let inputs = Inputs::new(&[&a, &b, &c], Kind::Float);
        assert_eq!((inputs.training.features.len(), &inputs.feature_of[..]), (2, &[0, 1, 0][..]));
        assert_eq!(inputs.training.targets[0].size(), [9, 3]);
    }

    #[test]
    fn permuted_keeps_the_rows_and_depends_on_the_seed() {
        let t = Tensor::arange(40, (Kind::Float, test_device())).view([20, 2]);
        let p = permuted(&t, 1, 0);
        assert!(p.equal(&permuted(&t, 1, 0)) && !p.equal(&t));
        assert!(!p.equal(&permuted(&t, 2, 0)) && !p.equal(&permuted(&t, 1, 1)));
        assert!(p.index_select(0, &p.select(1, 0).argsort(0, false)).equal(&t));
    }
}
