//! How much more similar the views of one image are than views of different images.

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::error::{Result, TensorRole};
use crate::scaling::unit_rows;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Mean cosine similarities of representations, in [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Invariance {
    /// Mean over the two views of each image.
    pub own: f64,
    /// Mean over view 1 of one image and view 2 of another, for all pairs of different images.
    pub others: f64,
    /// (own - others) / (1 - others). It is 1 if the views of an image are identical, and 0 if they are no
    /// more similar than views of different images. `None` if all images have the same representation, so
    /// that nothing can be compared.
    pub share: Option<f64>,
}

impl Invariance {
    /// Invariance from the representations `first` and `second` of two views, (N, D) each. Row i of both
    /// belongs to image i.
    ///
    /// # Errors
    /// Fails if the shapes differ, there are fewer than two images, or a value is not finite.
    pub fn from_views(first: &Tensor, second: &Tensor) -> Result<Invariance> {
        const NAME: &str = "invariance";
        let (rows, columns) = matrix(NAME, TensorRole::TestFeatures, first)?;
        expect_shape(NAME, TensorRole::TestFeatures, second, &[rows, columns])?;
        if rows < 2 {
            return Err(wrong_shape(NAME, TensorRole::TestFeatures, first, "at least two images".into()));
        }
        finite(NAME, TensorRole::TestFeatures, first)?;
        finite(NAME, TensorRole::TestFeatures, second)?;
        Ok(tch::no_grad(|| {
            let (first, second) = (unit_rows(first, Kind::Double), unit_rows(second, Kind::Double));
            let own = (&first * &second).sum(Kind::Double).double_value(&[]);
            let total = |t: &Tensor| t.sum_dim_intlist(&[0i64][..], false, Kind::Double);
            let all = total(&first).dot(&total(&second)).double_value(&[]);
            let n = rows as f64;
            let (own, others) = (own / n, (all - own) / (n * (n - 1.0)));
            let share = (1.0 - others > 1e-9).then(|| (own - others) / (1.0 - others));
            Invariance { own, others, share }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::{test_device, test_tensor};

    /// By hand: the angle between the views is 0 degrees for image 1 and 60 degrees for image 2. Across
    /// images the angles are 90 and 90 - 60 degrees.
    #[test]
    fn invariance_by_hand() {
        let first = test_tensor(&[2.0f32, 0.0, 0.0, 5.0]).view([2, 2]);
        let second = test_tensor(&[1.0f32, 0.0, 0.75f32.sqrt(), 0.5]).view([2, 2]);
        let found = Invariance::from_views(&first, &second).unwrap();
        let (own, others) = ((1.0 + 0.5) / 2.0, (0.0 + 0.75f64.sqrt()) / 2.0);
        assert!((found.own - own).abs() < 1e-6 && (found.others - others).abs() < 1e-6, "{found:?}");
        assert!((found.share.unwrap() - (own - others) / (1.0 - others)).abs() < 1e-6);
    }

    #[test]
    fn collapsed_representations_are_not_called_invariant() {
        let same = Tensor::ones([5, 3], (Kind::Float, test_device()));
        let found = Invariance::from_views(&same, &same).unwrap();
        assert!((found.own - 1.0).abs() < 1e-9 && found.share.is_none(), "{found:?}");
        assert!(Invariance::from_views(&same, &same.narrow(0, 0, 4)).is_err());
    }
}
