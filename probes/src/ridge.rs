//! Linear regression probe in closed form: ridge regression for every output. The penalty strength is chosen
//! without a validation split.
//!
//! Features are standardised with the training split's statistics (`Scaler`). The intercept is not penalised,
//! and the weights w of an output minimise |y - Xw|^2 + lambda |w|^2. For each output, lambda is chosen from
//! `n * 10^-6 .. n * 10^3` (one value per decade, [`grid`]) by exact cross-validation that leaves out one row
//! at a time, and all its doubles with it: the row's residual without it is r / (1 - h), with its leverage h.
//! So no sample is needed for validation, and a row never predicts its double. The grid is proportional to n
//! because X'X grows with n.
//!
//! Rows with the same features count as one row, whose target is their mean and whose weight is their number.
//! This gives the same weights w. Generalised cross-validation, which takes the mean leverage for every row,
//! would choose the weakest penalty as soon as N <= D and one row is doubled.
//!
//! Symbols: N distinct training rows, D features, k outputs. One eigendecomposition serves all strengths: of
//! X'X (D, D) if N > D, otherwise of XX' (N, N). Every lambda is above 0, so the solution is unique even with
//! constant columns or rank-deficient features. All of it is computed by torch in f64 on the features'
//! device.

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::doubles::{Distinct, Doubles};
use crate::error::{Error, Result, TensorRole};
use crate::problem::Problem;
use crate::r2::{R2, squared_residuals};
use crate::scaling::{Scaler, rows_in_pieces};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Powers of ten in the grid. The strengths are these times the number of training rows.
const DECADES: std::ops::RangeInclusive<i32> = -6..=3;

/// Relative error of an eigendecomposition above which the result of LAPACK counts as wrong. Rounding errors
/// are smaller.
const WRONG: f64 = 1e-6;

/// Relative difference of two cross-validation errors that may be rounding. The stronger penalty is then
/// taken.
const EQUAL: f64 = 1e-9;

/// The penalty strengths for a fit on `rows` training rows, ascending.
pub fn grid(rows: usize) -> Vec<f64> {
    DECADES.map(|decade| rows as f64 * 10f64.powi(decade)).collect()
}

/// A fitted probe: predicts `((x - mean) / scale) weights + intercept`.
#[derive(Debug)]
pub struct Ridge {
    scaler: Scaler,
    /// (D, k)
    weights: Tensor,
    /// (1, k): means of the training targets.
    intercept: Tensor,
    /// Penalty strength of each output.
    pub lambda: Vec<f64>,
}

/// R2 of the linear probe, like [`crate::mlp::Fit`] for the MLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearFit {
    /// On the training split.
    pub train: R2,
    /// On the test split.
    pub test: R2,
    /// Squared residuals of the test split, row by row (M k values).
    pub test_squares: Vec<f64>,
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
        let predictions = ridge.predict(&problem.test_x);
        let test = R2::from_checked(&predictions, &problem.test_t);
        let test_squares = squared_residuals(&predictions, &problem.test_t);
        Ok(LinearFit { train, test, test_squares, lambda: ridge.lambda })
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
            let scaler = Scaler::fit(x);
            let t = t.to_kind(Kind::Double);
            let intercept = t.mean_dim(&[0i64][..], true, Kind::Double);
            let distinct = Doubles::find(&scaler, x).merge(x, &(t - &intercept));
            let rows = Rows { scaler: &scaler, count: rows as f64, distinct };
            let spectrum = if rows.distinct.x.size()[0] > features { rows.primal() } else { rows.dual() };
            let spectrum = spectrum.map_err(|what| Error::Lapack { name: name.into(), what })?;
            let lambda = spectrum.choose(&grid(rows.count as usize));
            let weights = rows.weights(&spectrum, &lambda);
            Ok(Ridge { scaler, weights, intercept, lambda })
        })
    }

    /// Predictions (M, k) in f64 for features (M, D), on their device.
    pub fn predict(&self, x: &Tensor) -> Tensor {
        let piece = |x: Tensor| self.intercept.addmm(&self.scaler.apply(&x), &self.weights);
        Tensor::cat(&rows_in_pieces(x).map(piece).collect::<Vec<_>>(), 0)
    }
}

/// The distinct training rows, their standardised features multiplied by the square root of their number.
struct Rows<'a> {
    scaler: &'a Scaler,
    /// Number of rows, doubles included.
    count: f64,
    distinct: Distinct,
}

/// X = U S V' of the weighted features, as far as a form has it, and what cross-validation needs of it.
struct Spectrum {
    /// Squares of the singular values, (m).
    squares: Tensor,
    /// Eigenvectors: V (D, m) or U (N, m).
    vectors: Tensor,
    /// Targets along the eigenvectors: V'X'y or U'y, (m, k).
    targets: Tensor,
    form: Form,
}

/// Which of the two equal forms of the problem is solved.
enum Form {
    /// (X'X + lambda) w = X'y
    Primal {
        /// XV (N, m)
        rows: Tensor,
        /// y (N, k)
        y: Tensor,
        /// Leverage of the intercept, (N, 1).
        intercept: Tensor,
    },
    /// (XX' + lambda) a = y and w = X'a
    Dual,
}

impl Rows<'_> {
    /// X (R, D), standardised and weighted, of these rows.
    fn weighted(&self, x: &Tensor, root: &Tensor) -> Tensor {
        self.scaler.apply(x) * root
    }

    fn primal(&self) -> std::result::Result<Spectrum, String> {
        let Distinct { x, y, root } = &self.distinct;
        let pieces = || rows_in_pieces(x).zip(rows_in_pieces(root)).map(|(x, root)| self.weighted(&x, &root));
        let features = x.size()[1];
        let mut gram = Tensor::zeros([features, features], (Kind::Double, x.device()));
        let mut moment = Tensor::zeros([features, y.size()[1]], (Kind::Double, x.device()));
        for (x, y) in pieces().zip(rows_in_pieces(y)) {
            add_lower_products(&mut gram, &x);
            moment += x.tr().matmul(&y);
        }
        let gram = gram.tril(0) + gram.tril(-1).tr();
        let (squares, vectors) = eigen(&gram)?;
        let rows = Tensor::cat(&pieces().map(|x| x.matmul(&vectors)).collect::<Vec<_>>(), 0);
        let form = Form::Primal { rows, y: y.shallow_clone(), intercept: root.square() / self.count };
        Ok(Spectrum { squares, targets: vectors.tr().matmul(&moment), vectors, form })
    }

    fn dual(&self) -> std::result::Result<Spectrum, String> {
        let Distinct { x, y, root } = &self.distinct;
        let x = self.weighted(x, root);
        let kernel = x.matmul(&x.tr());
        // the intercept's direction, which is in the kernel's null space, gets the largest eigenvalue and is
        // left out
        let largest = kernel.trace().double_value(&[]) + 1.0;
        let (squares, vectors) = eigen(&(kernel + root.matmul(&root.tr()) * (largest / self.count)))?;
        let others = squares.size()[0] - 1;
        let (squares, vectors) = (squares.narrow(0, 0, others), vectors.narrow(1, 0, others));
        Ok(Spectrum { squares, targets: vectors.tr().matmul(y), vectors, form: Form::Dual })
    }

    /// Weights (D, k) at one strength for each output.
    fn weights(&self, spectrum: &Spectrum, lambda: &[f64]) -> Tensor {
        let lambda = Tensor::from_slice(lambda).to_device(spectrum.squares.device());
        let solution =
            spectrum.vectors.matmul(&(&spectrum.targets / (spectrum.squares.unsqueeze(1) + lambda)));
        match spectrum.form {
            Form::Primal { .. } => solution,
            Form::Dual => {
                let Distinct { x, root, .. } = &self.distinct;
                let pieces = rows_in_pieces(x).zip(rows_in_pieces(root)).zip(rows_in_pieces(&solution));
                let part =
                    |((x, root), a): ((Tensor, Tensor), Tensor)| self.weighted(&x, &root).tr().matmul(&a);
                pieces.map(part).reduce(|a, b| a + b).expect("there are rows")
            }
        }
    }
}

impl Spectrum {
    /// The strength of `lambdas`, which ascend, with the smallest error for each output.
    fn choose(&self, lambdas: &[f64]) -> Vec<f64> {
        let errors = self.errors(lambdas);
        let best = |j: usize| {
            let errors: Vec<f64> = values(&errors.select(1, j as i64));
            let least = errors.iter().copied().min_by(f64::total_cmp).expect("the grid has strengths");
            let strongest = errors.iter().rposition(|&error| error <= least * (1.0 + EQUAL));
            lambdas[strongest.expect("one of them is the least")]
        };
        (0..errors.size()[1] as usize).map(best).collect()
    }

    /// Cross-validation errors (g, k) for g strengths and each output: the sum of (r / (1 - h))^2 over the
    /// rows, with residuals r and leverages h.
    fn errors(&self, lambdas: &[f64]) -> Tensor {
        let (strengths, outputs) = (lambdas.len() as i64, self.targets.size()[1]);
        let lambdas = Tensor::from_slice(lambdas).to_device(self.squares.device());
        // (m, g)
        let reciprocal = (self.squares.unsqueeze(1) + &lambdas).reciprocal();
        // along the eigenvectors, (m, g k): the targets times a factor for each strength
        let scaled = |factor: &Tensor| {
            (factor.unsqueeze(2) * self.targets.unsqueeze(1)).reshape([-1, strengths * outputs])
        };
        // (N, g k) and (N, g)
        let (residual, rest) = match &self.form {
            Form::Primal { rows, y, intercept } => {
                let residual = y.repeat([1, strengths]) - rows.matmul(&scaled(&reciprocal));
                (residual, -(intercept + rows.square().matmul(&reciprocal)) + 1.0)
            }
            Form::Dual => {
                // I - H has the eigenvalues lambda / (lambda + s^2), and 0 for the intercept: no difference
                // of nearly equal numbers
                let share = reciprocal * lambdas;
                (self.vectors.matmul(&scaled(&share)), self.vectors.square().matmul(&share))
            }
        };
        let residual = residual.view([-1, strengths, outputs]);
        (residual / rest.clamp_min(f64::MIN_POSITIVE).unsqueeze(2)).square().sum_dim_intlist(
            &[0i64][..],
            false,
            Kind::Double,
        )
    }
}

/// Number of blocks of columns of which products are computed below the diagonal alone. With four, they are
/// 5/8 of all.
const BLOCKS: i64 = 4;

/// Adds X'X of rows X (R, D) to the lower triangle of `gram` (D, D). What it adds above the diagonal is not
/// all there.
fn add_lower_products(gram: &mut Tensor, x: &Tensor) {
    let features = x.size()[1];
    let width = (features / BLOCKS).max(1);
    for start in (0..features).step_by(width as usize) {
        let columns = x.narrow(1, start, width.min(features - start));
        let below = x.narrow(1, start, features - start);
        let mut block = gram.narrow(0, start, features - start).narrow(1, start, columns.size()[1]);
        block += below.tr().matmul(&columns);
    }
}

/// Eigenvalues (m), ascending and at least 0, and eigenvectors (m, m) of a symmetric matrix >= 0. They are
/// checked, because some BLAS builds compute wrong products on processors that are newer than the build.
fn eigen(a: &Tensor) -> std::result::Result<(Tensor, Tensor), String> {
    let (squares, vectors) = a.f_linalg_eigh("L").map_err(|error| error.to_string())?;
    check(a, &squares, &vectors)?;
    Ok((squares.clamp_min(0.0), vectors))
}

fn check(a: &Tensor, values: &Tensor, vectors: &Tensor) -> std::result::Result<(), String> {
    let norm = |t: &Tensor| t.square().sum(Kind::Double).sqrt().double_value(&[]);
    let (off, scale) = (norm(&(a.matmul(vectors) - vectors * values)), norm(a));
    if off <= WRONG * scale {
        Ok(())
    } else {
        Err(format!("an eigendecomposition is off by {:.1e} (relative)", off / scale))
    }
}

/// Values of a one-dimensional f64 tensor.
fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_device(Device::Cpu)).expect("one-dimensional f64 tensor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_tensor;

    /// By hand: the features are -1 and 1, and y = 2 x. Then (G + lambda) w = X'y with G = 2 and X'y = 4, and
    /// every leverage is 1/2 + 1 / (2 + lambda).
    #[test]
    fn both_forms_by_hand() {
        let x = test_tensor(&[-1.0, 1.0]).view([2, 1]);
        let y = test_tensor(&[-2.0, 2.0]).view([2, 1]);
        let scaler = Scaler::fit(&x);
        let rows = Rows { scaler: &scaler, count: 2.0, distinct: Doubles::find(&scaler, &x).merge(&x, &y) };
        for spectrum in [rows.primal().unwrap(), rows.dual().unwrap()] {
            for lambda in grid(2) {
                let weight = 4.0 / (2.0 + lambda);
                let found = rows.weights(&spectrum, &[lambda]).double_value(&[0, 0]);
                assert!((found - weight).abs() < 1e-9, "{found} {weight}");
                let error = 2.0 * ((2.0 - weight) / (0.5 - 1.0 / (2.0 + lambda))).powi(2);
                let found = spectrum.errors(&[lambda]).double_value(&[0, 0]);
                assert!((found / error - 1.0).abs() < 1e-6, "{found} {error}");
            }
        }
    }

    #[test]
    fn a_wrong_decomposition_is_noticed() {
        let a = test_tensor(&[2.0, 0.0, 0.0, 3.0]).view([2, 2]);
        let (values, vectors) = eigen(&a).unwrap();
        assert!(check(&a, &(values * 1.001), &vectors).unwrap_err().contains("off by"));
    }
}
