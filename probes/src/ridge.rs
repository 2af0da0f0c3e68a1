//! Linear regression probe in closed form: ridge regression for every output. The penalty strength is chosen
//! without a validation split.
//!
//! Features are standardised with the training split's statistics (`Standard`). The intercept is not
//! penalised, and the weights w of an output minimise |y - Xw|^2 + lambda |w|^2. For each output, lambda is
//! chosen from `n * 10^-6 .. n * 10^3` (one value per decade, [`grid`]) by the smallest generalised
//! cross-validation error, n RSS / (n - 1 - df)^2 with df = tr(X (X'X + lambda)^-1 X'). This is leave-one-out
//! cross-validation in closed form with equal leverages, so no sample is needed for validation. The grid is
//! proportional to n because X'X grows with n.
//!
//! Symbols: N training rows, D features, k outputs. If N > D, the normal equations (D, D) are solved,
//! otherwise their dual (N, N). Every lambda is above 0, so the solution is unique even with constant columns
//! or rank-deficient features. Products are computed by torch in f64 on the features' device, and
//! factorisations by LAPACK on the CPU.

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::error::{Error, Result, TensorRole};
use crate::problem::Problem;
use crate::r2::R2;
use ndarray::{Array1, Array2};
use ndarray_linalg::{FactorizeCInto, InverseCInto, SolveC, UPLO};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Number of rows converted to f64 at a time.
const PIECE: i64 = 8192;

/// Powers of ten in the grid. The strengths are these times the number of training rows.
const DECADES: std::ops::RangeInclusive<i32> = -6..=3;

/// Relative residual of a solved system above which the result of LAPACK counts as wrong. Rounding errors are
/// smaller.
const WRONG: f64 = 1e-6;

/// The penalty strengths for a fit on `rows` training rows, ascending.
pub fn grid(rows: usize) -> Vec<f64> {
    DECADES.map(|decade| rows as f64 * 10f64.powi(decade)).collect()
}

/// A fitted probe: predicts `((x - mean) / scale) weights + intercept`.
#[derive(Debug)]
pub struct Ridge {
    standard: Standard,
    /// (D, k)
    weights: Tensor,
    /// (1, k): means of the training targets.
    intercept: Tensor,
    /// Penalty strength of each output.
    pub lambda: Vec<f64>,
    /// Effective degrees of freedom of each output at that strength, without the intercept.
    pub degrees: Vec<f64>,
}

/// Means and standard deviations (divisor N) of the training features in f64, both (1, D). The scale of a
/// constant column is 1.
#[derive(Debug)]
struct Standard {
    mean: Tensor,
    scale: Tensor,
}

/// R2 of the linear probe, like [`crate::mlp::Fit`] for the MLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearFit {
    /// On the training split.
    pub train: R2,
    /// On the test split.
    pub test: R2,
    /// Penalty strength of each output.
    pub lambda: Vec<f64>,
}

/// Fits the probe to a problem and computes its R2 on both splits.
///
/// # Errors
/// Same as [`Ridge::fit`]. Also fails if the test tensors have a different number of columns.
pub fn fit(problem: &Problem) -> Result<LinearFit> {
    tch::no_grad(|| {
        problem.check()?;
        let ridge = Ridge::fit(&problem.name, &problem.train_x, &problem.train_t)?;
        let train = R2::from_checked(&ridge.predict(&problem.train_x), &problem.train_t);
        let test = R2::from_checked(&ridge.predict(&problem.test_x), &problem.test_t);
        Ok(LinearFit { train, test, lambda: ridge.lambda })
    })
}

impl Ridge {
    /// Fits features `x` (N, D) to targets `t` (N, k), both of any floating kind on one device. `name` is for
    /// messages.
    ///
    /// # Errors
    /// Fails for inconsistent shapes, fewer than 3 rows, NaN or infinite values, or if LAPACK returns wrong
    /// factors.
    pub fn fit(name: &str, x: &Tensor, t: &Tensor) -> Result<Ridge> {
        let (rows, features) = matrix(name, TensorRole::TrainFeatures, x)?;
        let (_, outputs) = matrix(name, TensorRole::TrainTargets, t)?;
        expect_shape(name, TensorRole::TrainTargets, t, &[rows, outputs])?;
        if rows < 3 {
            return Err(wrong_shape(name, TensorRole::TrainFeatures, x, "at least 3 rows".into()));
        }
        finite(name, TensorRole::TrainFeatures, x)?;
        finite(name, TensorRole::TrainTargets, t)?;
        tch::no_grad(|| {
            let standard = Standard::fit(x);
            let t = t.to_kind(Kind::Double);
            let intercept = t.mean_dim(&[0i64][..], true, Kind::Double);
            let centred = t - &intercept;
            let solutions =
                if rows > features { primal(&standard, x, &centred) } else { dual(&standard, x, &centred) };
            let best = Best::choose(
                solutions.map_err(|what| Error::Lapack { name: name.into(), what })?,
                rows as f64,
            );
            let weights =
                if rows > features { best.weights } else { standard.apply(x).tr().matmul(&best.weights) };
            Ok(Ridge { standard, weights, intercept, lambda: best.lambda, degrees: best.degrees })
        })
    }

    /// Predictions (M, k) in f64 for features (M, D), on their device.
    pub fn predict(&self, x: &Tensor) -> Tensor {
        let piece = |x: Tensor| self.intercept.addmm(&self.standard.apply(&x), &self.weights);
        Tensor::cat(&pieces(x).map(piece).collect::<Vec<_>>(), 0)
    }
}

impl Standard {
    /// Statistics of `x` (N, D).
    fn fit(x: &Tensor) -> Standard {
        let rows = x.size()[0] as f64;
        let sum = |f: &dyn Fn(Tensor) -> Tensor| {
            let parts = pieces(x)
                .map(|p| f(p.to_kind(Kind::Double)).sum_dim_intlist(&[0i64][..], true, Kind::Double));
            parts.reduce(|a, b| a + b).expect("features have rows")
        };
        let mean = sum(&|piece| piece) / rows;
        let std = (sum(&|piece| (piece - &mean).square()) / rows).sqrt();
        // below this, a column is constant up to rounding
        let floor = (mean.abs() * 1e-7).clamp_min(1e-300);
        let scale = std.where_self(&std.gt_tensor(&floor), &std.ones_like());
        Standard { mean, scale }
    }

    /// `x` (R, D) standardised, f64.
    fn apply(&self, x: &Tensor) -> Tensor {
        (x.to_kind(Kind::Double) - &self.mean) / &self.scale
    }
}

/// `x` in pieces of [`PIECE`] rows.
fn pieces(x: &Tensor) -> impl Iterator<Item = Tensor> {
    let rows = x.size()[0];
    (0..rows).step_by(PIECE as usize).map(move |start| x.narrow(0, start, PIECE.min(rows - start)))
}

/// The solution for all outputs at one lambda.
struct Solution {
    lambda: f64,
    /// (D, k) for the normal equations or (N, k) for the dual.
    weights: Tensor,
    /// Effective degrees of freedom.
    degrees: f64,
    /// Residual sum of squares of each output.
    residual: Vec<f64>,
}

/// For each output, the solution with the smallest generalised cross-validation error.
struct Best {
    weights: Tensor,
    lambda: Vec<f64>,
    degrees: Vec<f64>,
}

impl Best {
    fn choose(solutions: Vec<Solution>, rows: f64) -> Best {
        let outputs = solutions[0].residual.len();
        let error =
            |s: &Solution, j: usize| s.residual[j] / (rows - 1.0 - s.degrees).max(f64::MIN_POSITIVE).powi(2);
        let best = |j: usize| {
            solutions
                .iter()
                .min_by(|a, b| error(a, j).total_cmp(&error(b, j)))
                .expect("the grid has strengths")
        };
        let chosen: Vec<&Solution> = (0..outputs).map(best).collect();
        let columns: Vec<Tensor> =
            chosen.iter().enumerate().map(|(j, s)| s.weights.narrow(1, j as i64, 1)).collect();
        Best {
            weights: Tensor::cat(&columns, 1),
            lambda: chosen.iter().map(|s| s.lambda).collect(),
            degrees: chosen.iter().map(|s| s.degrees).collect(),
        }
    }
}

/// Solutions of (G + lambda) w = X'y with G = X'X (D, D). df = D - lambda tr (G + lambda)^-1.
fn primal(standard: &Standard, x: &Tensor, y: &Tensor) -> std::result::Result<Vec<Solution>, String> {
    let features = x.size()[1];
    let mut gram = Tensor::zeros([features, features], (Kind::Double, x.device()));
    let mut moment = Tensor::zeros([features, y.size()[1]], (Kind::Double, x.device()));
    for (x, y) in pieces(x).zip(pieces(y)) {
        let x = standard.apply(&x);
        gram += x.tr().matmul(&x);
        moment += x.tr().matmul(&y);
    }
    let total = y.square().sum_dim_intlist(&[0i64][..], false, Kind::Double);
    let solve = |lambda: f64| {
        let (weights, trace) = solve(&gram, &moment, lambda)?;
        // |y - Xw|^2 = y'y - w'(X'y) - lambda |w|^2, because (X'X) w = X'y - lambda w
        let fitted =
            (&weights * (&moment + &weights * lambda)).sum_dim_intlist(&[0i64][..], false, Kind::Double);
        let residual = values(&(&total - fitted).clamp_min(0.0));
        Ok(Solution { lambda, weights, degrees: features as f64 - lambda * trace, residual })
    };
    grid(x.size()[0] as usize).into_iter().map(solve).collect()
}

/// Solutions of (K + lambda) a = y with K = XX' (N, N); w = X'a. df = N - lambda tr (K + lambda)^-1, and y -
/// Ka = lambda a.
fn dual(standard: &Standard, x: &Tensor, y: &Tensor) -> std::result::Result<Vec<Solution>, String> {
    let x = standard.apply(x);
    let kernel = x.matmul(&x.tr());
    let rows = x.size()[0];
    let solve = |lambda: f64| {
        let (weights, trace) = solve(&kernel, y, lambda)?;
        let residual =
            values(&(&weights * lambda).square().sum_dim_intlist(&[0i64][..], false, Kind::Double));
        Ok(Solution { lambda, weights, degrees: rows as f64 - lambda * trace, residual })
    };
    grid(rows as usize).into_iter().map(solve).collect()
}

/// The solution of (A + lambda) w = b for symmetric A (m, m) >= 0 and b (m, k), and the trace of (A +
/// lambda)^-1.
fn solve(a: &Tensor, b: &Tensor, lambda: f64) -> std::result::Result<(Tensor, f64), String> {
    let device = a.device();
    let shifted = a + Tensor::eye(a.size()[0], (Kind::Double, device)) * lambda;
    let factor = array(&shifted).factorizec_into(UPLO::Lower).map_err(|error| error.to_string())?;
    let columns: Vec<Tensor> = (0..b.size()[1])
        .map(|j| {
            let column = Array1::from_vec(values(&b.select(1, j).contiguous()));
            factor
                .solvec_into(column)
                .map(|w| Tensor::from_slice(&w.to_vec()))
                .map_err(|error| error.to_string())
        })
        .collect::<std::result::Result<_, _>>()?;
    let weights = Tensor::stack(&columns, 1).to_device(device);
    check(&shifted, &weights, b)?;
    let inverse = factor.invc_into().map_err(|error| error.to_string())?;
    Ok((weights, inverse.diag().sum()))
}

/// Checks the residual, because some BLAS builds compute wrong products on processors that are newer than the
/// build.
fn check(a: &Tensor, w: &Tensor, b: &Tensor) -> std::result::Result<(), String> {
    let norm = |t: &Tensor| t.square().sum(Kind::Double).sqrt().double_value(&[]);
    let (off, scale) = (norm(&(a.matmul(w) - b)), norm(a) * norm(w) + norm(b));
    if off <= WRONG * scale {
        Ok(())
    } else {
        Err(format!("the solution of a linear system is off by {:.1e} (relative residual)", off / scale))
    }
}

/// Values of a one-dimensional f64 tensor.
fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_device(Device::Cpu)).expect("one-dimensional f64 tensor")
}

/// A square, symmetric f64 tensor as an array. Symmetry makes the order of the axes irrelevant.
fn array(t: &Tensor) -> Array2<f64> {
    let side = t.size()[0] as usize;
    Array2::from_shape_vec((side, side), values(&t.contiguous().view([-1]))).expect("a square tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: the features are -1 and 1, and y = 2 x. Then (G + lambda) w = X'y with G = 2 and X'y = 4.
    #[test]
    fn both_forms_by_hand() {
        let x = Tensor::from_slice(&[-1.0, 1.0]).view([2, 1]);
        let y = Tensor::from_slice(&[-2.0, 2.0]).view([2, 1]);
        let standard = Standard::fit(&x);
        let (primal, dual) = (primal(&standard, &x, &y).unwrap(), dual(&standard, &x, &y).unwrap());
        for ((primal, dual), lambda) in primal.iter().zip(&dual).zip(grid(2)) {
            let weight = primal.weights.double_value(&[0, 0]);
            assert!((weight - 4.0 / (2.0 + lambda)).abs() < 1e-12, "{weight}");
            assert!((x.tr().matmul(&dual.weights).double_value(&[0, 0]) - weight).abs() < 1e-9);
            assert!(
                (primal.degrees - 2.0 / (2.0 + lambda)).abs() < 1e-9
                    && (dual.degrees - primal.degrees).abs() < 1e-9
            );
            assert!(
                (primal.residual[0] - 2.0 * (2.0 - weight).powi(2)).abs() < 1e-6,
                "{:?}",
                primal.residual
            );
            assert!((dual.residual[0] - primal.residual[0]).abs() < 1e-6);
        }
    }

    #[test]
    fn a_wrong_solution_is_noticed() {
        let a = Tensor::from_slice(&[2.0, 0.0, 0.0, 3.0]).view([2, 2]);
        let b = Tensor::from_slice(&[2.0, 3.0]).view([2, 1]);
        assert!(check(&a, &b.ones_like(), &b).is_ok());
        assert!(check(&a, &(b.ones_like() * 1.001), &b).unwrap_err().contains("off by"));
    }
}
