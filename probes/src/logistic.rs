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
//! initial Hessian, so even ill-conditioned features need few iterations. The axes are in units of the
//! features' largest deviation, and the penalty in squares of it, so that features of any scale and offset
//! are fitted alike: features times c with lambda times c^2 give the same scores.
//!
//! A fit ends when what remains is small against what the features have gained over class frequencies alone,
//! not only against the objective. Under a penalty so strong that features gain little, no weights at all
//! would otherwise pass for the solution.
//!
//! Symbols in the shapes: N rows, D features, C classes.

use std::ops::Range;

use crate::checks::{check_above_zero, check_classes, check_labels, finite, matrix};
use crate::error::{Result, TensorRole};
use crate::lbfgs::{Found, Lbfgs, PRODUCTS, State, advance};
use crate::logistic_objective::{Evaluation, Objective, Queued};
use crate::principal_axes::PrincipalAxes;
use crate::scaling::rows_in_pieces;
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

/// Decreases below this fraction of the gain over class frequencies are ignored. For separable classes and
/// almost no penalty, the objective keeps decreasing towards zero.
const FLOOR: f64 = 1e-8;

/// Factor between the decrease that remains and what L-BFGS expects of the next step, which was up to eleven
/// times too small.
const REACH: f64 = 20.0;

/// Penalty per row, in the units of the principal axes, above which weights only shrink with the penalty:
/// cross-entropy is linear in weights this small.
const LINEAR: f64 = 1e7;

/// Decrease per row that is below the rounding of float32 gradients.
const NOISE: f64 = 1e-13;

/// Configuration of the fits. The default is the protocol's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticConfig {
    /// Maximum number of L-BFGS iterations per problem.
    pub iterations: usize,
    /// A fit ends when the remaining decrease is below this fraction of the objective, and of the gain over
    /// class frequencies alone.
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
            let classes =
                |x: Tensor| self.bias.addmm(&x.to_kind(Kind::Double), &self.weight).argmax(1, false);
            Tensor::cat(&rows_in_pieces(x).map(classes).collect::<Vec<_>>(), 0)
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

    /// Variance of the features around their mean, averaged over the D features; 1 for constant features.
    pub fn mean_variance(&self) -> f64 {
        let variance = self.axes.variance.mean(Kind::Double).double_value(&[]) * self.axes.unit.powi(2);
        if variance > 0.0 { variance } else { 1.0 }
    }

    /// Fits one problem for each of `lambdas` (all above 0) that is in `chains`, and returns them in the
    /// order of `lambdas`. The strongest penalties start from `start`, or from class frequencies. After each
    /// round, `progress` is called with the number of finished problems.
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
                None => self.objective.without_features().0,
            };
            let mut order: Vec<usize> = (0..lambdas.len()).collect();
            order.sort_by(|&a, &b| lambdas[b].total_cmp(&lambdas[a]));
            let rough = LogisticConfig { tolerance: ROUGH, ..config.clone() };
            let mut fits: Vec<(usize, Logistic)> = Vec::with_capacity(lambdas.len());
            for (number, chain) in order.chunks(CHAIN).enumerate().take(chains.end) {
                if let Some(before) = (number * CHAIN).checked_sub(1) {
                    // starts from the last chain's starting point, because its end may be on another rank
                    let searches = self.minimise(&start, &[lambdas[order[before]]], &rough, &mut |_| {});
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
            let searches = self.minimise(&start, group, config, &mut |more| progress(ended + more));
            if let Some(last) = searches.last() {
                start = last.point().shallow_clone();
            }
            fits.extend(searches.iter().zip(group).map(|(search, &lambda)| self.fitted(search, lambda)));
        }
        fits
    }

    fn fitted(&self, search: &Lbfgs, lambda: f64) -> Logistic {
        let point = search.point().view([-1, self.objective.classes]);
        let features = point.size()[0] - 1;
        let weight = point.narrow(0, 0, features) * self.strength(lambda).shrinkage;
        let (weight, bias) = self.axes.outward(&Tensor::cat(&[weight, point.narrow(0, features, 1)], 0));
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

    fn strength(&self, lambda: f64) -> Strength {
        let wanted = lambda / self.axes.unit / self.axes.unit;
        let linear = LINEAR * self.objective.rows() as f64;
        match wanted > linear {
            true => Strength { fitted: linear, shrinkage: linear / wanted },
            false => Strength { fitted: wanted, shrinkage: 1.0 },
        }
    }

    /// Minimises the objectives for all `lambdas` together, starting from `start`. After each round,
    /// `progress` is called with the number of finished problems.
    fn minimise(
        &self,
        start: &Tensor,
        lambdas: &[f64],
        config: &LogisticConfig,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Lbfgs> {
        let (_, baseline) = self.objective.without_features();
        let noise = NOISE * self.objective.rows() as f64;
        let small = |Evaluation { value, penalty, .. }: &Evaluation| {
            // the penalty is a lower bound of what the weights gain at the solution, and has no rounding
            // error even where the gain is lost in the rounding of the value
            let gain = penalty.max(baseline - value);
            ((FLOOR * gain).max(config.tolerance * gain.min(*value)) / REACH).max(noise)
        };
        let mut searches: Vec<Lbfgs> = lambdas.iter().map(|_| Lbfgs::new(start)).collect();
        loop {
            let ends = |s: &Lbfgs| s.state() != State::Searching || s.iterations() >= config.iterations;
            let active: Vec<usize> = (0..lambdas.len()).filter(|&g| !ends(&searches[g])).collect();
            progress(lambdas.len() - active.len());
            if active.is_empty() {
                return searches;
            }
            let points: Vec<Tensor> = active.iter().map(|&g| searches[g].trial()).collect();
            let fitted: Vec<f64> = active.iter().map(|&g| self.strength(lambdas[g]).fitted).collect();
            let Queued { numbers, gradients } = self.objective.queue(&points, &fitted);
            let products = active.iter().zip(&gradients).map(|(&g, gradient)| searches[g].products(gradient));
            // read together, because the device must be waited for
            let numbers = Tensor::cat(&std::iter::once(numbers).chain(products).collect::<Vec<_>>(), 0);
            let numbers: Vec<f64> = Vec::try_from(numbers).expect("a row of numbers");
            let (numbers, products) = numbers.split_at(numbers.len() - PRODUCTS * active.len());
            let (products, _) = products.as_chunks::<PRODUCTS>();
            let evaluations = self.objective.evaluations(numbers, &fitted);
            let found = evaluations.into_iter().zip(gradients).zip(products);
            let mut found = found.map(|((evaluation, gradient), &products)| Found {
                value: evaluation.value,
                products,
                gradient,
                small: small(&evaluation),
                curvature: evaluation.curvature,
            });
            let active = searches.iter_mut().enumerate().filter(|(g, _)| active.contains(g));
            advance(active.map(|(_, search)| (search, found.next().expect("one of each active search"))));
        }
    }
}

/// A penalty in the units of the principal axes.
struct Strength {
    /// The strength that is fitted.
    fitted: f64,
    /// Factor from the weights at that strength to those at the wanted one.
    shrinkage: f64,
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
