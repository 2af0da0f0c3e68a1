//! Multinomial logistic regression with an l2 penalty, for a whole grid of strengths at once (protocol
//! section 5).
//!
//! For each lambda, minimises the sum over the rows of the cross-entropy + lambda/2 |W|^2; the bias is free.
//! The problems of the grid differ in lambda only, so they are evaluated together
//! ([`crate::logistic_objective`]). Each is minimised by its own L-BFGS ([`crate::lbfgs`]) and leaves the
//! batch when it has converged. The grid is walked from strong to weak penalties in groups of [`GROUP`], each
//! of which starts where the one before ended: solutions of weak penalties are far from zero, but close to
//! one another. Chains of [`CHAIN`] strengths may be walked by different ranks; their starting points come
//! from a separate, less exact walk. The objective is convex, so the start does not change the solution.
//!
//! Features are centred and turned into their principal axes first. Neither changes the problem: the bias
//! absorbs the shift, and a rotation keeps |W|. But in these axes the Hessian is close to a diagonal, c n
//! var_j + lambda with c the mean of p (1 - p). L-BFGS gets it as its first guess, so features of any
//! condition take few iterations.
//!
//! Letters in the shapes: N rows, D features, C classes.

use std::ops::Range;

use crate::checks::{check_above_zero, check_classes, check_labels, finite, matrix};
use crate::error::{Result, TensorRole};
use crate::lbfgs::{Lbfgs, State, Tolerance};
use crate::logistic_objective::Objective;
use crate::principal_axes::PrincipalAxes;
use tch::{Kind, Tensor};

/// Strengths that are fitted side by side.
const GROUP: usize = 5;

/// Strengths that are walked one after the other. Where chains start depends on the grid only and not on the
/// ranks, so the result is the same on any number of ranks. Three chains took 1,466 iterations, beside those
/// for their starts, and one chain 1,450 (4,000 rows, 20 classes that overlap).
const CHAIN: usize = 3 * GROUP;

/// Tolerance of the fits that chains start from.
const ROUGH: f64 = 1e-3;

/// A gain below this share of the objective without weights is no gain: almost without penalty, the objective
/// of separable classes falls towards zero without end.
const FLOOR: f64 = 1e-8;

/// How the fits are made; the default is the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticConfig {
    /// L-BFGS iterations that a problem may take.
    pub iterations: usize,
    /// A fit ends when less than this share of the objective can be gained.
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
    /// The objective at the solution.
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

/// Fits one problem for each of `lambdas` (finite, above 0) to features `x` (N, D) of any floating kind and
/// labels `y` (N), int64 in 0..`classes`, on one device. `name` is for messages.
///
/// # Errors
/// Shapes that do not fit, NaN or infinite features, labels out of range, fewer than two classes, a lambda
/// that is not above 0.
pub fn fit(
    name: &str,
    x: &Tensor,
    y: &Tensor,
    classes: i64,
    lambdas: &[f64],
    config: &LogisticConfig,
) -> Result<Vec<Logistic>> {
    let (rows, _) = matrix(name, TensorRole::TrainFeatures, x)?;
    finite(name, TensorRole::TrainFeatures, x)?;
    check_labels(name, TensorRole::TrainTargets, y, rows, classes)?;
    check_classes(classes)?;
    lambdas.iter().try_for_each(|&lambda| check_above_zero("lambda", lambda))?;
    Ok(Fitter::new(x, y, classes).fit(lambdas, 0..chains(lambdas.len()), None, config, &mut |_| {}))
}

/// Weights and biases from which a fit starts.
pub(crate) struct StartingPoint {
    /// (D, C), f64.
    pub weight: Tensor,
    /// (C), f64.
    pub bias: Tensor,
}

/// Number of chains of a grid of `strengths`; they are numbered from the strongest penalties on.
pub(crate) fn chains(strengths: usize) -> usize {
    strengths.div_ceil(CHAIN)
}

/// Which of `strengths`, ascending, are in `chains`.
pub(crate) fn strengths_in(chains: &Range<usize>, strengths: usize) -> Range<usize> {
    let from_the_top = |chain: usize| strengths - (chain * CHAIN).min(strengths);
    from_the_top(chains.end)..from_the_top(chains.start)
}

/// Fits to the same features and labels. The caller has checked shapes, values and labels.
pub(crate) struct Fitter {
    axes: PrincipalAxes,
    objective: Objective,
}

impl Fitter {
    /// Of features `x` (N, D) of any floating kind and labels `y` (N), int64 in 0..`classes`, on one device.
    pub fn new(x: &Tensor, y: &Tensor, classes: i64) -> Fitter {
        tch::no_grad(|| {
            let axes = PrincipalAxes::new(x);
            let objective = Objective::new(&axes, x, y, classes);
            Fitter { axes, objective }
        })
    }

    /// Fits one problem for each of `lambdas` (all above 0) that is in `chains`, in their order. The
    /// strongest penalties start from zero, or from `start`. Tells `progress` after each round how many
    /// problems have ended.
    pub fn fit(
        &self,
        lambdas: &[f64],
        chains: Range<usize>,
        start: Option<&StartingPoint>,
        config: &LogisticConfig,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Logistic> {
        tch::no_grad(|| {
            let mut start = match start {
                Some(start) => self.axes.inward(&start.weight, &start.bias),
                None => Tensor::zeros([self.objective.parameters()], (Kind::Double, self.axes.mean.device())),
            };
            let mut order: Vec<usize> = (0..lambdas.len()).collect();
            order.sort_by(|&a, &b| lambdas[b].total_cmp(&lambdas[a]));
            let rough = LogisticConfig { tolerance: ROUGH, ..config.clone() };
            let mut fits: Vec<(usize, Logistic)> = Vec::with_capacity(lambdas.len());
            for (number, chain) in order.chunks(CHAIN).enumerate().take(chains.end) {
                if let Some(before) = (number * CHAIN).checked_sub(1) {
                    // from the start of the last chain, since its end may be on another rank
                    let searches =
                        minimise(&self.objective, &start, &[lambdas[order[before]]], &rough, &mut |_| {});
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

    /// Fits `lambdas`, descending, in groups. The first starts from `start`, the others where the one before
    /// ended.
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
            let searches =
                minimise(&self.objective, &start, group, config, &mut |more| progress(ended + more));
            if let Some(last) = searches.last() {
                start = last.point().shallow_clone();
            }
            fits.extend(searches.iter().zip(group).map(|(search, &lambda)| self.fitted(search, lambda)));
        }
        fits
    }

    fn fitted(&self, search: &Lbfgs, lambda: f64) -> Logistic {
        let (weight, bias) = self.axes.outward(&search.point().view([-1, self.objective.classes]));
        let (objective, iterations) = (search.value(), search.iterations());
        Logistic {
            lambda,
            weight,
            bias,
            objective,
            iterations,
            converged: search.state() != State::Searching,
        }
    }
}

/// Minimises with each of `lambdas` from `start`, side by side. Tells `progress` after each round how many
/// have ended.
fn minimise(
    objective: &Objective,
    start: &Tensor,
    lambdas: &[f64],
    config: &LogisticConfig,
    progress: &mut dyn FnMut(usize),
) -> Vec<Lbfgs> {
    // relative to the loss without weights
    let floor = FLOOR * objective.rows() as f64 * (objective.classes as f64).ln();
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
        for (&g, found) in active.iter().zip(objective.evaluate(&points, &chosen)) {
            searches[g].update(found.value, found.gradient, &found.curvature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_cover_the_grid_from_the_strongest_penalties_on() {
        assert_eq!(chains(45), 3);
        assert_eq!(
            [0..1, 1..2, 2..3, 0..3].map(|range| strengths_in(&range, 45)),
            [30..45, 15..30, 0..15, 0..45]
        );
        assert_eq!((chains(20), strengths_in(&(1..2), 20), strengths_in(&(2..2), 20)), (2, 0..5, 0..0));
    }
}
