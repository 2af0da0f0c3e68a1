//! Multinomial logistic regression with an L2 penalty, for a whole grid of penalty strengths (protocol
//! section 5).
//!
//! For each lambda, the objective is the cross-entropy summed over the rows + lambda/2 |W|^2. The bias is not
//! penalised. The problems of the grid differ only in lambda, so they are evaluated together
//! (`crate::logistic_objective`). Each is minimised by its own L-BFGS (`crate::lbfgs`) and leaves the
//! batch when it has converged. The grid is processed from strong to weak penalties in groups of `GROUP`.
//! Each group starts from the last solution of the group before it, because solutions for weak penalties are
//! far from zero but close to one another. Different ranks may process different chains of `CHAIN`
//! strengths. The starting points of the chains come from separate, less accurate fits. The objective is
//! convex, so the starting point does not change the solution.
//!
//! Features are first centred and rotated to their principal axes. This does not change the problem: the bias
//! absorbs the shift, and a rotation preserves |W|. In these axes the Hessian is close to a diagonal matrix
//! with entries c n var_j + lambda, where c is the mean of p (1 - p). L-BFGS uses this diagonal as its
//! initial Hessian, so even ill-conditioned features need few iterations.
//!
//! Symbols in the shapes: N rows, D features, C classes.

use std::ops::Range;

use crate::checks::{check_above_zero, check_classes, check_labels, finite, matrix};
use crate::error::{Result, TensorRole};
use crate::lbfgs::{Lbfgs, State, Tolerance};
use crate::logistic_objective::Objective;
use crate::principal_axes::PrincipalAxes;
use tch::{Kind, Tensor};

/// Number of strengths that are fitted together.
const GROUP: usize = 5;

/// Number of strengths in a chain, whose groups are fitted one after another. Where chains start depends only
/// on the grid, so the result is the same on any number of ranks. On 4,000 rows of 20 overlapping classes,
/// three chains took 1,466 iterations (without those for their starting points), and a single chain took
/// 1,450.
const CHAIN: usize = 3 * GROUP;

/// Tolerance of the fits that chains start from.
const ROUGH: f64 = 1e-3;

/// Gains below this fraction of the objective at zero weights are ignored. For separable classes and almost
/// no penalty, the objective keeps decreasing towards zero.
const FLOOR: f64 = 1e-8;

/// Configuration of the fits. The default is the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticConfig {
    /// Maximum number of L-BFGS iterations per problem.
    pub iterations: usize,
    /// A fit ends when the expected decrease is below this fraction of the objective.
    pub tolerance: f64,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        LogisticConfig { iterations: 500, tolerance: 1e-6 }
    }
}

/// The protocol's grid: 45 logarithmically spaced strengths from 1e-6 to 1e5, ascending.
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
    /// Number of L-BFGS iterations.
    pub iterations: usize,
    /// Whether the tolerance was reached within the iterations allowed.
    pub converged: bool,
}

impl Logistic {
    /// The class with the highest score for each row of `x` (N, D), int64 (N).
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
/// Fails for inconsistent shapes, NaN or infinite features, labels out of range, fewer than two classes, or a
/// lambda that is not above 0.
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

/// Number of chains for a grid of `strengths` strengths. Chain 0 has the strongest penalties.
pub(crate) fn chains(strengths: usize) -> usize {
    strengths.div_ceil(CHAIN)
}

/// Range of indices, in the ascending grid of `strengths` strengths, that `chains` cover.
pub(crate) fn strengths_in(chains: &Range<usize>, strengths: usize) -> Range<usize> {
    let from_the_top = |chain: usize| strengths - (chain * CHAIN).min(strengths);
    from_the_top(chains.end)..from_the_top(chains.start)
}

/// Fits problems with the same features and labels. The caller must have checked shapes, values and labels.
pub(crate) struct Fitter {
    axes: PrincipalAxes,
    objective: Objective,
}

impl Fitter {
    /// A fitter for features `x` (N, D) of any floating kind and labels `y` (N), int64 in 0..`classes`, on
    /// one device.
    pub fn new(x: &Tensor, y: &Tensor, classes: i64) -> Fitter {
        tch::no_grad(|| {
            let axes = PrincipalAxes::new(x);
            let objective = Objective::new(&axes, x, y, classes);
            Fitter { axes, objective }
        })
    }

    /// Fits one problem for each of `lambdas` (all above 0) that is in `chains`, and returns them in the
    /// order of `lambdas`. The strongest penalties start from `start`, or from zero. After each round,
    /// `progress` is called with the number of finished problems.
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
                    // starts from the last chain's starting point, because its end may be on another rank
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

    /// Fits `lambdas`, which are descending, in groups. The first group starts from `start`, and each other
    /// group from the last solution of the previous one.
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

/// Minimises the objectives for all `lambdas` together, starting from `start`. After each round, `progress`
/// is called with the number of finished problems.
fn minimise(
    objective: &Objective,
    start: &Tensor,
    lambdas: &[f64],
    config: &LogisticConfig,
    progress: &mut dyn FnMut(usize),
) -> Vec<Lbfgs> {
    // relative to the loss at zero weights
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
