//! Whether representations collapse: spread and effective rank of y on one batch.

use eqr_models::Collective;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::train::Network;

/// Images that are encoded for it, over all ranks: once an epoch, so that it costs next to nothing.
const IMAGES: usize = 64;

/// What y is like on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Health {
    /// [`spread`].
    pub embedding_std: f64,
    /// [`effective_rank`].
    pub effective_rank: f64,
    /// Images that both were taken over.
    pub images: i64,
}

/// Mean over the dimensions of the standard deviation over the rows of `y` (N, D).
pub fn spread(y: &Tensor) -> f64 {
    y.std_dim([0i64].as_slice(), true, false).mean(Kind::Double).double_value(&[])
}

/// Effective rank of `y` (N, D): exp of the entropy of the singular values of the centred y, normalised to sum 1 (Roy and Vetterli 2007);
/// 1 to min(N - 1, D), and 0 where all rows are equal.
pub fn effective_rank(y: &Tensor) -> f64 {
    let y = y.to_device(tch::Device::Cpu).to_kind(Kind::Double);
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

/// The health of y on the first images of `images` (n, 3, H, W), of which rank r holds `rows[r]`; the same on every rank.
pub fn of(network: &Network, images: &Tensor, rows: &[i64], ranks: &dyn Collective) -> Health {
    tch::no_grad(|| {
        let most = IMAGES.div_ceil(ranks.size()) as i64;
        let rows: Vec<i64> = rows.iter().map(|&rows| rows.min(most)).collect();
        let images = images.narrow(0, 0, rows[ranks.rank()]).to_kind(network.arena.compute().kind());
        let y = network.model.encoder.forward(&network.arena, &images).y.to_kind(network.arena.compute().master_kind());
        let y = ranks.all_gather(&y, &rows);
        Health { embedding_std: spread(&y), effective_rank: effective_rank(&y), images: y.size()[0] }
    })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{effective_rank, spread};

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
    }

    #[test]
    fn a_collapsed_batch_has_neither_spread_nor_rank() {
        let y = Tensor::ones([6, 4], (Kind::Float, Device::Cpu));
        assert_eq!((spread(&y), effective_rank(&y)), (0.0, 0.0));
        let y = Tensor::from_slice(&[1.0f32, -1.0]).view([2, 1]).expand([2, 3], false);
        assert!((spread(&y) - 2f64.sqrt()).abs() < 1e-6);
    }
}
