//! Scores of probes on pairs from ranges that they were not trained on.

use eqr_probes::Result;
use eqr_probes::mlp::Fit;
use eqr_probes::r2::{R2, constant_predictor};
use eqr_probes::ridge::LinearFit;
use tch::Tensor;

use crate::registry::Predictor;

/// Scores on pairs from shifted ranges.
pub struct ShiftedScores {
    /// Of the MLP probes, one per seed.
    pub mlp: Vec<TestScore>,
    /// Of the linear probe.
    pub linear: TestScore,
    /// Of the constant predictor.
    pub constant: R2,
}

impl ShiftedScores {
    /// The squared residuals of every kind of probe, one tensor per seed.
    pub(super) fn squares(&self) -> impl Iterator<Item = (Predictor, Vec<Tensor>)> {
        let of =
            |scores: &[TestScore]| scores.iter().map(|score| Tensor::from_slice(&score.squares)).collect();
        let linear = std::slice::from_ref(&self.linear);
        [(Predictor::Mlp, of(&self.mlp)), (Predictor::Linear, of(linear))].into_iter()
    }
}

/// A probe's R2 on test pairs, with its squared residuals.
pub struct TestScore {
    /// The R2.
    pub r2: R2,
    /// Row by row, M k values.
    squares: Vec<f64>,
}

/// Targets of a problem whose ordinary test pairs are followed by pairs from shifted ranges.
pub(super) struct TargetsInTurn<'a> {
    /// (N, k), of the training pairs.
    pub(super) train: &'a Tensor,
    /// (M, k), of the ordinary test pairs.
    pub(super) ordinary: &'a Tensor,
    /// (M', k), of the shifted pairs.
    pub(super) shifted: &'a Tensor,
}

impl TargetsInTurn<'_> {
    /// Splits the test scores of probes, which keep those on the ordinary pairs.
    ///
    /// # Errors
    /// Those of [`constant_predictor`].
    pub(super) fn split_off(&self, mlp: &mut [Fit], linear: &mut LinearFit) -> Result<ShiftedScores> {
        let of_fit = |fit: &mut Fit| self.split_score(&mut fit.test, &mut fit.test_squares);
        Ok(ShiftedScores {
            mlp: mlp.iter_mut().map(of_fit).collect(),
            linear: self.split_score(&mut linear.test, &mut linear.test_squares),
            constant: constant_predictor(self.train, self.shifted)?,
        })
    }

    fn split_score(&self, r2: &mut R2, squares: &mut Vec<f64>) -> TestScore {
        let shifted = squares.split_off(self.ordinary.numel());
        *r2 = R2::from_squares(squares, self.ordinary);
        TestScore { r2: R2::from_squares(&shifted, self.shifted), squares: shifted }
    }
}
