//! Measures of representations that need no training: invariance and effective rank.

use crate::error::{Part, Result};
use crate::standardise::{expect_shape, finite, matrix, shape, unit_rows};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Cosine similarities of representations, means in [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Invariance {
    /// Of the two views of one image.
    pub own: f64,
    /// Of views of different images, view 1 of the one and view 2 of the other, over all pairs of images.
    pub others: f64,
    /// (own - others) / (1 - others): 1 where the views of an image are one, 0 where they are no more alike than those of
    /// different images. `None` where all images are alike, so that nothing can be told from it.
    pub share: Option<f64>,
}

impl Invariance {
    /// Invariance of the views' representations `first` and `second`, (N, D) each, row by row of one image.
    ///
    /// # Errors
    /// Shapes that differ, fewer than two images, values that are not finite.
    pub fn of(first: &Tensor, second: &Tensor) -> Result<Invariance> {
        const NAME: &str = "invariance";
        let (rows, columns) = matrix(NAME, Part::TestFeatures, first)?;
        expect_shape(NAME, Part::TestFeatures, second, &[rows, columns])?;
        if rows < 2 {
            return Err(shape(NAME, Part::TestFeatures, first, "at least two images".into()));
        }
        finite(NAME, Part::TestFeatures, first)?;
        finite(NAME, Part::TestFeatures, second)?;
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

/// Effective rank of `y` (N, D): exp of the entropy of the singular values of the centred y, normalised to sum 1 (Roy and Vetterli 2007);
/// 1 to min(N - 1, D), and 0 where all rows are equal.
pub fn effective_rank(y: &Tensor) -> f64 {
    let y = y.to_device(Device::Cpu).to_kind(Kind::Double);
    let centred = &y - y.mean_dim([0i64].as_slice(), true, None);
    let (rows, columns) = centred.size2().expect("y is (N, D)");
    // singular values are the roots of the smaller Gram matrix's eigenvalues
    let gram = if rows < columns { centred.matmul(&centred.tr()) } else { centred.tr().matmul(&centred) };
    let squares: Vec<f64> = Vec::try_from(gram.linalg_eigvalsh("L")).expect("a row of eigenvalues");
    // what rounding leaves of a zero
    let floor = squares.last().copied().unwrap_or(0.0) * 1e-14;
    let values: Vec<f64> = squares.into_iter().filter(|&square| square > floor).map(f64::sqrt).collect();
    let sum: f64 = values.iter().sum();
    if values.is_empty() {
        return 0.0;
    }
    values.iter().map(|value| value / sum).map(|p| -p * p.ln()).sum::<f64>().exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_rank_counts_directions() {
        // rows ±e_i: d directions of equal length
        for d in [1, 3, 8] {
            let eye = Tensor::eye(d, (Kind::Float, Device::Cpu));
            let y = Tensor::cat(&[&eye, &-&eye], 0);
            assert!((effective_rank(&y) - d as f64).abs() < 1e-6, "{d}");
        }
        // singular values 3 and 1: entropy of (3/4, 1/4), written out
        let y = Tensor::from_slice(&[3.0f32, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, -1.0]).view([4, 2]);
        let expected = (-(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
        assert!((effective_rank(&(y + 5.0)) - expected).abs() < 1e-6);
        assert_eq!(effective_rank(&Tensor::ones([6, 4], (Kind::Float, Device::Cpu))), 0.0);
    }

    /// By hand: views of image 1 are one, of image 2 at 60 degrees; across images 90 and 90 - 60.
    #[test]
    fn invariance_by_hand() {
        let first = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 5.0]).view([2, 2]);
        let second = Tensor::from_slice(&[1.0f32, 0.0, 0.75f32.sqrt(), 0.5]).view([2, 2]);
        let found = Invariance::of(&first, &second).unwrap();
        let (own, others) = ((1.0 + 0.5) / 2.0, (0.0 + 0.75f64.sqrt()) / 2.0);
        assert!((found.own - own).abs() < 1e-6 && (found.others - others).abs() < 1e-6, "{found:?}");
        assert!((found.share.unwrap() - (own - others) / (1.0 - others)).abs() < 1e-6);
    }

    #[test]
    fn collapsed_representations_are_not_called_invariant() {
        let same = Tensor::ones([5, 3], (Kind::Float, Device::Cpu));
        let found = Invariance::of(&same, &same).unwrap();
        assert!((found.own - 1.0).abs() < 1e-9 && found.share.is_none(), "{found:?}");
        assert!(Invariance::of(&same, &same.narrow(0, 0, 4)).is_err());
    }
}
