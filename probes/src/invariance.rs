//! How much more alike the views of one image are than those of different images.

use crate::checks::{expect_shape, finite, matrix, wrong_shape};
use crate::error::{Result, TensorRole};
use crate::scaling::unit_rows;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Cosine similarities of representations, means in [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Invariance {
    /// Of the two views of one image.
    pub own: f64,
    /// Of view 1 of one image and view 2 of another, over all pairs of images.
    pub others: f64,
    /// (own - others) / (1 - others): 1 where the views of an image are the same, 0 where they are no more
    /// alike than those of different images. `None` where all images are alike, which leaves nothing to
    /// compare.
    pub share: Option<f64>,
}

impl Invariance {
    /// Invariance of the views' representations `first` and `second`, (N, D) each, row by row of one image.
    ///
    /// # Errors
    /// Shapes that differ, fewer than two images, values that are not finite.
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
    use tch::Device;

    /// By hand: views of image 1 are one, of image 2 at 60 degrees; across images 90 and 90 - 60.
    #[test]
    fn invariance_by_hand() {
        let first = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 5.0]).view([2, 2]);
        let second = Tensor::from_slice(&[1.0f32, 0.0, 0.75f32.sqrt(), 0.5]).view([2, 2]);
        let found = Invariance::from_views(&first, &second).unwrap();
        let (own, others) = ((1.0 + 0.5) / 2.0, (0.0 + 0.75f64.sqrt()) / 2.0);
        assert!((found.own - own).abs() < 1e-6 && (found.others - others).abs() < 1e-6, "{found:?}");
        assert!((found.share.unwrap() - (own - others) / (1.0 - others)).abs() < 1e-6);
    }

    #[test]
    fn collapsed_representations_are_not_called_invariant() {
        let same = Tensor::ones([5, 3], (Kind::Float, Device::Cpu));
        let found = Invariance::from_views(&same, &same).unwrap();
        assert!((found.own - 1.0).abs() < 1e-9 && found.share.is_none(), "{found:?}");
        assert!(Invariance::from_views(&same, &same.narrow(0, 0, 4)).is_err());
    }
}
