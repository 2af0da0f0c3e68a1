//! The input of a regression probe.

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::error::{Result, TensorRole};
use crate::redraw::Redraw;
use tch::Tensor;

/// Targets to predict from features, such as the parameters of one transform. The tensors may have any
/// floating kind and must be on one device. The probe trains in float32 on that device. It reads the targets
/// in f64 and standardises them before it rounds, so that no R2 depends on their unit or their origin.
///
/// Problems with the same `train_x` tensor (same memory) share one standardised copy of it, and `redraw`s
/// with the same images and pairs.
pub struct Problem {
    /// Name used in messages.
    pub name: String,
    /// Training features (N, D). If the pairs are drawn anew, those of epoch 0: they give the statistics that
    /// standardise features and targets, the linear probe is fitted to them, and train R2 is measured on
    /// them.
    pub train_x: Tensor,
    /// Training targets (N, k) of the same rows.
    pub train_t: Tensor,
    /// Draws the training rows of the MLP probe in later epochs; `None` if all epochs have the same rows.
    pub redraw: Option<Redraw>,
    /// Test features (M, D).
    pub test_x: Tensor,
    /// Test targets (M, k).
    pub test_t: Tensor,
}

impl Problem {
    /// Number of outputs, k.
    pub(crate) fn outputs(&self) -> i64 {
        self.train_t.size()[1]
    }

    /// Checks shapes and values.
    pub(crate) fn check(&self) -> Result<()> {
        let Problem { name, train_x, train_t, redraw, test_x, test_t } = self;
        let (train_rows, features) = matrix(name, TensorRole::TrainFeatures, train_x)?;
        let (test_rows, _) = matrix(name, TensorRole::TestFeatures, test_x)?;
        let (_, outputs) = matrix(name, TensorRole::TrainTargets, train_t)?;
        if train_t.size()[0] != train_rows {
            let expected = format!("{train_rows} rows, as the features have");
            return Err(wrong_shape(name, TensorRole::TrainTargets, train_t, expected));
        }
        expect_shape(name, TensorRole::TestFeatures, test_x, &[test_rows, features])?;
        expect_shape(name, TensorRole::TestTargets, test_t, &[test_rows, outputs])?;
        finite(name, TensorRole::TrainFeatures, train_x)?;
        finite(name, TensorRole::TrainTargets, train_t)?;
        finite(name, TensorRole::TestFeatures, test_x)?;
        finite(name, TensorRole::TestTargets, test_t)?;
        redraw.as_ref().map_or(Ok(()), |redraw| redraw.check(name, features))
    }
}
