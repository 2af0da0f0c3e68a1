//! Objectives of logistic regressions that differ only in the penalty strength. They are evaluated together:
//! one product computes the scores for all of them, and another one their gradients.
//!
//! Symbols in the shapes: N rows, D features, C classes, G objectives.

use crate::principal_axes::PrincipalAxes;
use tch::{Kind, Tensor};

/// Number of scores in memory at a time on a CPU. It is large enough for efficient products, and small enough
/// that the scores are still in the cache when they are read.
const SCORES: i64 = 1 << 21;

/// Number of scores in memory at a time on a GPU, whose caches hold none of them: the two buffers of a piece
/// take 1 GiB, and few rows are so many that there is a second piece.
const SCORES_ON_GPU: i64 = 1 << 27;

/// Smallest curvature along an axis, as a fraction of the largest.
const LEAST_CURVATURE: f64 = 1e-15;

/// What is computed of objectives at their points. The numbers are not read, because the device must be
/// waited for.
pub(crate) struct Queued {
    /// Cross-entropies, then the sums of `1 - p` of the label, then the squares of the weights times their
    /// strengths: (3 G), f64
    pub numbers: Tensor,
    /// ((D + 1) C), float32, of each objective
    pub gradients: Vec<Tensor>,
}

/// Value and curvature of one objective at a point.
pub(crate) struct Evaluation {
    pub value: f64,
    /// The penalty's part of the value.
    pub penalty: f64,
    /// ((D + 1) C), float32
    pub curvature: Tensor,
}

/// The data of all objectives.
pub(crate) struct Objective {
    /// Features in their principal axes and a column of ones, (N, D + 1), float32
    x: Tensor,
    /// (N, 1, 1), int64
    y: Tensor,
    /// N times the variance of each column of `x`, where the column of ones counts as variance 1: (D + 1, 1),
    /// f64
    weight: Tensor,
    /// 1 where the penalty applies, 0 for the bias: (D + 1, 1), f64
    penalised: Tensor,
    pub classes: i64,
}

impl Objective {
    /// The objective for features `x` (N, D) with these principal axes, and labels `y` (N).
    pub fn new(axes: &PrincipalAxes, x: &Tensor, y: &Tensor, classes: i64) -> Objective {
        let rows = x.size()[0];
        let turned = axes.turned(x);
        let ones = Tensor::ones([rows, 1], (Kind::Float, x.device()));
        let one = Tensor::ones([1], (Kind::Double, x.device()));
        let weight = Tensor::cat(&[&axes.variance, &one], 0).unsqueeze(1) * rows as f64;
        let penalised = Tensor::cat(&[axes.variance.ones_like(), one.zeros_like()], 0).unsqueeze(1);
        Objective { x: Tensor::cat(&[turned, ones], 1), y: y.view([rows, 1, 1]), weight, penalised, classes }
    }

    /// Number of rows.
    pub fn rows(&self) -> i64 {
        self.x.size()[0]
    }

    /// The point without weights whose scores are the logarithms of the classes' shares, and its value: what
    /// is best without features. A class without rows counts as half a row.
    pub fn without_features(&self) -> (Tensor, f64) {
        let rows = self.rows() as f64;
        let counts = self.y.view([-1]).bincount(None::<&Tensor>, self.classes).to_kind(Kind::Double);
        let shares = (counts.clamp_min(0.5) / rows).log();
        let value = -(&counts * &shares).sum(Kind::Double).double_value(&[]);
        let weights = Tensor::zeros([self.parameters() - self.classes], (Kind::Double, self.x.device()));
        (Tensor::cat(&[weights, shares], 0), value)
    }

    /// Number of parameters of a point, (D + 1) C.
    pub fn parameters(&self) -> i64 {
        self.weight.size()[0] * self.classes
    }

    /// Computes the objectives with `lambdas` at `points`, ((D + 1) C) f64 each.
    pub fn queue(&self, points: &[Tensor], lambdas: &[f64]) -> Queued {
        let problems = points.len() as i64;
        let columns: Vec<Tensor> =
            points.iter().map(|p| p.view([-1, self.classes]).to_kind(Kind::Float)).collect();
        let sums = self.sums(&Tensor::cat(&columns, 1), problems);
        let points: Vec<Tensor> = points.iter().map(|point| point.view([-1, self.classes])).collect();
        let slopes: Vec<Tensor> =
            points.iter().zip(lambdas).map(|(point, &lambda)| (point * &self.penalised) * lambda).collect();
        let squares = slopes.iter().zip(&points).map(|(slope, point)| (slope * point).sum(Kind::Double));
        let squares = Tensor::stack(&squares.collect::<Vec<_>>(), 0);
        let gradient = |(g, slope): (usize, Tensor)| {
            let gradient = sums.gradient.narrow(1, g as i64 * self.classes, self.classes);
            (gradient.to_kind(Kind::Double) + slope).to_kind(Kind::Float).reshape([-1])
        };
        Queued {
            numbers: Tensor::cat(&[&sums.loss, &sums.missed, &squares], 0),
            gradients: slopes.into_iter().enumerate().map(gradient).collect(),
        }
    }

    /// The objectives with `lambdas`, of which [`Queued::numbers`] have been read.
    pub fn evaluations(&self, numbers: &[f64], lambdas: &[f64]) -> Vec<Evaluation> {
        let rows = self.rows() as f64;
        let of_problem = |g: usize| [0, 1, 2].map(|row| numbers[row * lambdas.len() + g]);
        let evaluation = |(g, lambda): (usize, &f64)| {
            let [loss, missed, square] = of_problem(g);
            let penalty = 0.5 * square;
            // the mean over the classes of p (1 - p), estimated by the mean of `missed` over rows and
            // classes, which is close to it at the start
            let bend = missed.max(1e-6 * rows) / (rows * self.classes as f64);
            let curvature = &self.weight * bend + &self.penalised * *lambda;
            // along an axis without variance, almost no penalty is no curvature in float32
            let curvature = curvature.maximum(&(curvature.max() * LEAST_CURVATURE));
            Evaluation {
                value: loss + penalty,
                penalty,
                curvature: curvature.to_kind(Kind::Float).expand([-1, self.classes], false).reshape([-1]),
            }
        };
        lambdas.iter().enumerate().map(evaluation).collect()
    }

    /// Sums over the rows for weights (D + 1, G C).
    fn sums(&self, weights: &Tensor, problems: i64) -> Sums {
        let (rows, width, device) = (self.x.size()[0], problems * self.classes, self.x.device());
        let scores = if device.is_cuda() { SCORES_ON_GPU } else { SCORES };
        let piece = (scores / width).clamp(1, rows);
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
            let of_label = slope.gather(2, &index, false);
            // computes 1 - p of the label as the sum over the other classes, which is exact if p is close to
            // 1
            let _ = slope.exp_();
            let _ = slope.scatter_value_(2, &index, 0.0);
            let rest = slope.sum_dim_intlist(&[2i64][..], true, Kind::Float);
            let _ = slope.scatter_(2, &index, &-&rest);
            let cross_entropy = (-&rest).log1p().where_self(&rest.lt(0.5), &of_label).squeeze_dim(2);
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
    /// Gradient of the cross-entropy, (D + 1, G C), float32
    gradient: Tensor,
    /// Cross-entropy, (G), f64
    loss: Tensor,
    /// 1 - p of the label, (G), f64
    missed: Tensor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    /// Compares the objectives for two strengths at different points with autograd.
    #[test]
    fn values_and_gradients_agree_with_autograd() {
        let wave = |size: &[i64], frequency: f64| {
            let count: i64 = size.iter().product();
            (Tensor::arange(count, (Kind::Double, test_device())) * frequency).sin().view(size)
        };
        let x = wave(&[9, 4], 1.7);
        let y = Tensor::arange(9, (Kind::Int64, test_device())).remainder(3);
        let axes = PrincipalAxes::new(&x);
        let objective = Objective::new(&axes, &x, &y, 3);
        let points = [wave(&[15], 0.9), wave(&[15], 2.9)];
        let lambdas = [0.1, 3.0];
        let queued = objective.queue(&points, &lambdas);
        let numbers: Vec<f64> = Vec::try_from(queued.numbers).unwrap();
        let found = objective.evaluations(&numbers, &lambdas).into_iter().zip(queued.gradients);
        for (((found, found_gradient), point), lambda) in found.zip(&points).zip(lambdas) {
            let leaf = point.copy().set_requires_grad(true);
            let (weight, bias) = (leaf.view([5, 3]).narrow(0, 0, 4), leaf.view([5, 3]).get(4));
            let scores = ((&x - &axes.mean) / axes.unit).matmul(&axes.axes).matmul(&weight) + bias;
            let loss = scores.cross_entropy_loss(&y, None::<&Tensor>, tch::Reduction::Sum, -100, 0.0);
            let loss = loss + weight.square().sum(Kind::Double) * (0.5 * lambda);
            let gradient = Tensor::run_backward(&[&loss], &[&leaf], false, false).remove(0);
            assert!((found.value - loss.double_value(&[])).abs() < 1e-5);
            assert!((&found_gradient - gradient).abs().max().double_value(&[]) < 1e-5);
        }
    }
}
