//! Multinomial logistic regression with an l2 penalty, for a whole grid of strengths at once (protocol section 5).
//!
//! Minimises, for each lambda, sum over the rows of the cross-entropy + lambda/2 |W|^2; the bias is free. The problems of the
//! grid differ in lambda alone, so that one product makes the scores of several of them and one their gradients; each
//! goes its own way by L-BFGS ([`crate::lbfgs`]) and leaves the batch where it has converged. The grid is walked from strong to
//! weak penalties in groups of [`GROUP`], each started where the one before ended: weak penalties are far from zero, but close to
//! one another. Chains of [`CHAIN`] strengths may be walked by different ranks: their starts are a walk of their own, less exact. The objective is convex, so that the start changes the way and not the end.
//!
//! Features are centred and turned into their principal axes first. Neither changes the problem: the bias takes the shift up
//! and a rotation keeps |W|. But there the Hessian is close to a diagonal, c n var_j + lambda with c the mean of p (1 - p), which
//! L-BFGS gets as its first guess: features of any condition take few iterations.
//!
//! Letters in the shapes: N rows, D features, C classes, G problems of the batch.

use std::ops::Range;

use crate::error::{Error, Part, Result};
use crate::labels::check_labels;
use crate::lbfgs::{Lbfgs, State, Tolerance};
use crate::standardise::{finite, matrix};
use tch::{Kind, Tensor};

/// Scores that are held at a time: one product must be large, its results still in the cache when they are read.
const SCORES: i64 = 1 << 21;

/// Strengths that are fitted side by side.
const GROUP: usize = 5;

/// Strengths that are walked one after the other. Where chains begin, and what from, depends on the grid alone and not on who walks them:
/// ranks that share the chains out end where one rank does. Three chains took 1,466 iterations, and their starts' beside, where one took
/// 1,450 (4,000 rows, 20 classes that overlap).
const CHAIN: usize = 3 * GROUP;

/// How exact the fit is that a chain starts from.
const ROUGH: f64 = 1e-3;

/// Share of the objective at no weight below which a gain counts for nothing: with next to no penalty, classes that can be parted have an
/// objective that goes to zero for ever.
const FLOOR: f64 = 1e-8;

/// How the fits are made; the default is the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticConfig {
    /// L-BFGS iterations that a problem may take.
    pub iterations: usize,
    /// A fit ends where less than this share of the objective can be gained.
    pub tolerance: f64,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        LogisticConfig { iterations: 500, tolerance: 1e-6 }
    }
}

/// The protocol's grid: 45 strengths from 1e-6 to 1e5, evenly spaced in the logarithm, ascending.
pub fn grid() -> Vec<f64> {
    (0..45).map(|i| 10f64.powf(-6.0 + 11.0 * f64::from(i) / 44.0)).collect()
}

/// One fitted problem. Scores of features x (N, D) are `x weight + bias`.
#[derive(Debug)]
pub struct Logistic {
    /// Strength of the penalty.
    pub lambda: f64,
    /// (D, C), f64.
    pub weight: Tensor,
    /// (C), f64.
    pub bias: Tensor,
    /// What was minimised, at the solution.
    pub objective: f64,
    /// L-BFGS iterations taken.
    pub iterations: usize,
    /// Whether the tolerance was reached within the iterations allowed.
    pub converged: bool,
}

impl Logistic {
    /// Class of the highest score for each row of `x` (N, D), int64 (N).
    pub fn predict(&self, x: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let (weight, bias) = (self.weight.to_kind(Kind::Float), self.bias.to_kind(Kind::Float));
            bias.addmm(&x.to_kind(Kind::Float), &weight).argmax(1, false)
        })
    }
}

/// Fits one problem for each of `lambdas` (finite, above 0) to features `x` (N, D) of any floating kind and labels `y` (N), int64 in
/// 0..`classes`, on one device. `name` is for messages.
///
/// # Errors
/// Shapes that do not fit, NaN or infinite features, labels out of range, fewer than two classes, a lambda that is not above 0.
pub fn fit(
    name: &str,
    x: &Tensor,
    y: &Tensor,
    classes: i64,
    lambdas: &[f64],
    config: &LogisticConfig,
) -> Result<Vec<Logistic>> {
    let (rows, _) = matrix(name, Part::TrainFeatures, x)?;
    finite(name, Part::TrainFeatures, x)?;
    check_labels(name, Part::TrainTargets, y, rows, classes)?;
    if classes < 2 {
        return Err(Error::Config { key: "classes", found: classes.to_string(), expected: "at least 2" });
    }
    if let Some(lambda) = lambdas.iter().find(|&&lambda| !(lambda > 0.0 && lambda.is_finite())) {
        return Err(Error::Config { key: "lambda", found: lambda.to_string(), expected: "a finite number above 0" });
    }
    Ok(Data::new(x, y, classes).fit(lambdas, 0..chains(lambdas.len()), None, config, &mut |_| {}))
}

/// Where fits start.
pub(crate) struct Start {
    /// (D, C), f64.
    pub weight: Tensor,
    /// (C), f64.
    pub bias: Tensor,
}

/// Number of chains of a grid of `strengths`; they are numbered from the strongest penalties on.
pub(crate) fn chains(strengths: usize) -> usize {
    strengths.div_ceil(CHAIN)
}

/// Which of `strengths`, ascending, `chains` hold.
pub(crate) fn of_chains(chains: &Range<usize>, strengths: usize) -> Range<usize> {
    let from_the_top = |chain: usize| strengths - (chain * CHAIN).min(strengths);
    from_the_top(chains.end)..from_the_top(chains.start)
}

/// Features and labels, ready for any number of fits. The caller has checked shapes, values and labels.
pub(crate) struct Data {
    axes: Axes,
    problem: Problem,
}

impl Data {
    /// Of features `x` (N, D) of any floating kind and labels `y` (N), int64 in 0..`classes`, on one device.
    pub fn new(x: &Tensor, y: &Tensor, classes: i64) -> Data {
        tch::no_grad(|| {
            let axes = Axes::of(x);
            let problem = Problem::new(&axes, x, y, classes);
            Data { axes, problem }
        })
    }

    /// Fits one problem for each of `lambdas` (all above 0) that is in `chains`, in their order; the strongest penalties from zero, or from
    /// `start`. Tells `progress` after each round how many problems have ended.
    pub fn fit(
        &self,
        lambdas: &[f64],
        chains: Range<usize>,
        start: Option<&Start>,
        config: &LogisticConfig,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Logistic> {
        tch::no_grad(|| {
            let mut start = match start {
                Some(start) => self.axes.inward(&start.weight, &start.bias),
                None => Tensor::zeros([self.problem.parameters()], (Kind::Double, self.axes.mean.device())),
            };
            let mut order: Vec<usize> = (0..lambdas.len()).collect();
            order.sort_by(|&a, &b| lambdas[b].total_cmp(&lambdas[a]));
            let rough = LogisticConfig { tolerance: ROUGH, ..config.clone() };
            let mut fits: Vec<(usize, Logistic)> = Vec::with_capacity(lambdas.len());
            for (number, chain) in order.chunks(CHAIN).enumerate().take(chains.end) {
                if let Some(before) = (number * CHAIN).checked_sub(1) {
                    // on from the last chain's start, as its end may be another rank's
                    let searches = self.problem.minimise(&start, &[lambdas[order[before]]], &rough, &mut |_| {});
                    start = searches[0].point().shallow_clone();
                }
                if chains.contains(&number) {
                    let ended = fits.len();
                    let chosen: Vec<f64> = chain.iter().map(|&g| lambdas[g]).collect();
                    let walked = self.walk(&chosen, &start, config, &mut |more| progress(ended + more));
                    fits.extend(chain.iter().copied().zip(walked));
                }
            }
            fits.sort_by_key(|(g, _)| *g);
            fits.into_iter().map(|(_, fit)| fit).collect()
        })
    }

    /// Fits `lambdas`, descending, in groups, the first from `start` and each from where the one before ended.
    fn walk(
        &self,
        lambdas: &[f64],
        start: &Tensor,
        config: &LogisticConfig,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Logistic> {
        let mut start = start.shallow_clone();
        let mut fits = Vec::with_capacity(lambdas.len());
        for group in lambdas.chunks(GROUP) {
            let ended = fits.len();
            let searches = self.problem.minimise(&start, group, config, &mut |more| progress(ended + more));
            if let Some(last) = searches.last() {
                start = last.point().shallow_clone();
            }
            fits.extend(searches.iter().zip(group).map(|(search, &lambda)| self.ended(search, lambda)));
        }
        fits
    }

    fn ended(&self, search: &Lbfgs, lambda: f64) -> Logistic {
        let (weight, bias) = self.axes.outward(&search.point().view([-1, self.problem.classes]));
        let (objective, iterations) = (search.value(), search.iterations());
        Logistic { lambda, weight, bias, objective, iterations, converged: search.state() != State::Searching }
    }
}

/// The principal axes of features.
struct Axes {
    /// (1, D), f64
    mean: Tensor,
    /// (D, D), f64, a column an axis
    axes: Tensor,
    /// Variance along each axis, (D), f64
    variance: Tensor,
}

impl Axes {
    fn of(x: &Tensor) -> Axes {
        let [rows, features] = x.size()[..] else { unreachable!("features are (N, D)") };
        let mean = x.mean_dim(&[0i64][..], true, Kind::Double);
        let mut gram = Tensor::zeros([features, features], (Kind::Double, x.device()));
        for start in (0..rows).step_by(8192) {
            let piece = x.narrow(0, start, 8192.min(rows - start)).to_kind(Kind::Double) - &mean;
            gram += piece.tr().matmul(&piece);
        }
        let (variance, axes) = (gram / rows as f64).linalg_eigh("L");
        Axes { mean, axes, variance: variance.clamp_min(0.0) }
    }

    /// (D + 1, C) in the axes, the bias last, from weights (D, C) and bias (C) of the features; flat.
    fn inward(&self, weight: &Tensor, bias: &Tensor) -> Tensor {
        let bias = bias + self.mean.matmul(weight).squeeze_dim(0);
        Tensor::cat(&[self.axes.tr().matmul(weight), bias.unsqueeze(0)], 0).view([-1])
    }

    /// Weights (D, C) and bias (C) of the features from `point` (D + 1, C) in the axes.
    fn outward(&self, point: &Tensor) -> (Tensor, Tensor) {
        let features = self.axes.size()[0];
        let weight = self.axes.matmul(&point.narrow(0, 0, features));
        let bias = point.get(features) - self.mean.matmul(&weight).squeeze_dim(0);
        (weight, bias)
    }
}

/// What one problem is told of its trial point.
struct Told {
    value: f64,
    /// ((D + 1) C), float32
    gradient: Tensor,
    /// ((D + 1) C), float32
    curvature: Tensor,
}

/// The data that all problems share.
struct Problem {
    /// Features in their axes and a column of ones, (N, D + 1), float32
    x: Tensor,
    /// (N, 1, 1), int64
    y: Tensor,
    /// N times the variance along each column of `x`, that of the ones counting as 1: (D + 1, 1), f64
    weight: Tensor,
    /// 1 where the penalty applies, 0 for the bias: (D + 1, 1), f64
    penalised: Tensor,
    classes: i64,
}

impl Problem {
    fn new(axes: &Axes, x: &Tensor, y: &Tensor, classes: i64) -> Problem {
        let rows = x.size()[0];
        let (turn, shift) = (axes.axes.to_kind(Kind::Float), axes.mean.to_kind(Kind::Float));
        let turned = (x.to_kind(Kind::Float) - shift).matmul(&turn);
        let ones = Tensor::ones([rows, 1], (Kind::Float, x.device()));
        let one = Tensor::ones([1], (Kind::Double, x.device()));
        let weight = Tensor::cat(&[&axes.variance, &one], 0).unsqueeze(1) * rows as f64;
        let penalised = Tensor::cat(&[axes.variance.ones_like(), one.zeros_like()], 0).unsqueeze(1);
        Problem { x: Tensor::cat(&[turned, ones], 1), y: y.view([rows, 1, 1]), weight, penalised, classes }
    }

    fn parameters(&self) -> i64 {
        self.weight.size()[0] * self.classes
    }

    /// Minimises with each of `lambdas` from `start`, side by side. Tells `progress` after each round how many have ended.
    fn minimise(
        &self,
        start: &Tensor,
        lambdas: &[f64],
        config: &LogisticConfig,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Lbfgs> {
        // the loss of no weight at all: what is small against it counts for nothing, however small the objective
        let floor = FLOOR * self.x.size()[0] as f64 * (self.classes as f64).ln();
        let tolerance = Tolerance { relative: config.tolerance, absolute: floor };
        let mut searches: Vec<Lbfgs> = lambdas.iter().map(|_| Lbfgs::new(start, tolerance)).collect();
        loop {
            let ends = |s: &Lbfgs| s.state() != State::Searching || s.iterations() >= config.iterations;
            let active: Vec<usize> = (0..lambdas.len()).filter(|&g| !ends(&searches[g])).collect();
            progress(lambdas.len() - active.len());
            if active.is_empty() {
                return searches;
            }
            let points: Vec<Tensor> = active.iter().map(|&g| searches[g].trial()).collect();
            let chosen: Vec<f64> = active.iter().map(|&g| lambdas[g]).collect();
            for (&g, told) in active.iter().zip(self.evaluate(&points, &chosen)) {
                searches[g].tell(told.value, told.gradient, &told.curvature);
            }
        }
    }

    /// Objectives with `lambdas` at `points`, ((D + 1) C) f64 each.
    fn evaluate(&self, points: &[Tensor], lambdas: &[f64]) -> Vec<Told> {
        let problems = points.len() as i64;
        let columns: Vec<Tensor> = points.iter().map(|p| p.view([-1, self.classes]).to_kind(Kind::Float)).collect();
        let sums = self.sums(&Tensor::cat(&columns, 1), problems);
        let rows = self.x.size()[0] as f64;
        (0..points.len())
            .map(|g| {
                let lambda = lambdas[g];
                let point = points[g].view([-1, self.classes]);
                let penalty = (&point * &self.penalised) * lambda;
                let value =
                    sums.loss.double_value(&[g as i64]) + 0.5 * (&penalty * &point).sum(Kind::Double).double_value(&[]);
                let own = sums.gradient.narrow(1, g as i64 * self.classes, self.classes);
                // mean over the classes of p (1 - p) is at most, and far from the end about, the share missed / C
                let bend = sums.missed.double_value(&[g as i64]).max(1e-6 * rows) / (rows * self.classes as f64);
                let curvature = &self.weight * bend + &self.penalised * lambda;
                Told {
                    value,
                    gradient: (own.to_kind(Kind::Double) + penalty).to_kind(Kind::Float).reshape([-1]),
                    curvature: curvature.to_kind(Kind::Float).expand([-1, self.classes], false).reshape([-1]),
                }
            })
            .collect()
    }

    /// Sums over the rows for weights (D + 1, G C).
    fn sums(&self, weights: &Tensor, problems: i64) -> Sums {
        let (rows, width, device) = (self.x.size()[0], problems * self.classes, self.x.device());
        let piece = (SCORES / width).clamp(1, rows);
        let gradient = Tensor::zeros([self.x.size()[1], width], (Kind::Float, device));
        let mut loss = Tensor::zeros([problems], (Kind::Double, device));
        let mut missed = Tensor::zeros([problems], (Kind::Double, device));
        let buffer = || Tensor::empty([piece, width], (Kind::Float, device));
        let (scores, slopes) = (buffer(), buffer());
        for start in (0..rows).step_by(piece as usize) {
            let length = piece.min(rows - start);
            let (x, scores) = (self.x.narrow(0, start, length), scores.narrow(0, 0, length));
            let _ = x.matmul_out(&scores, weights);
            let mut slope = slopes.narrow(0, 0, length).view([length, problems, self.classes]);
            let index = self.y.narrow(0, start, length).expand([-1, problems, 1], false);
            let _ = scores.view([length, problems, self.classes]).log_softmax_int_out(&slope, 2, Kind::Float);
            let own = slope.gather(2, &index, false);
            // 1 - p of the label as the sum of the others: exact where p is all but 1
            let _ = slope.exp_();
            let _ = slope.scatter_value_(2, &index, 0.0);
            let rest = slope.sum_dim_intlist(&[2i64][..], true, Kind::Float);
            let _ = slope.scatter_(2, &index, &-&rest);
            let cross_entropy = (-&rest).log1p().where_self(&rest.lt(0.5), &own).squeeze_dim(2);
            loss -= cross_entropy.sum_dim_intlist(&[0i64][..], false, Kind::Double);
            missed += rest.squeeze_dim(2).sum_dim_intlist(&[0i64][..], false, Kind::Double);
            let flat = slope.view([length, width]);
            let _ = gradient.addmm_out(&gradient, &x.tr(), &flat);
        }
        Sums { gradient, loss, missed }
    }
}

/// Sums over the rows.
struct Sums {
    /// Of the cross-entropy's gradient, (D + 1, G C), float32
    gradient: Tensor,
    /// Of the cross-entropy, (G), f64
    loss: Tensor,
    /// Of 1 - p of the label, (G), f64
    missed: Tensor,
}
