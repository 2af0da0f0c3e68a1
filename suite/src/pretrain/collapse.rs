//! Whether representations collapse: spread and effective rank of y on one batch.

use eqr_models::Collective;
use eqr_probes::effective_rank;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::encoder::network::Network;

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
    use eqr_probes::effective_rank;
    use tch::{Device, Kind, Tensor};

    use super::spread;

    #[test]
    fn a_collapsed_batch_has_neither_spread_nor_rank() {
        let y = Tensor::ones([6, 4], (Kind::Float, Device::Cpu));
        assert_eq!((spread(&y), effective_rank(&y)), (0.0, 0.0));
        let y = Tensor::from_slice(&[1.0f32, -1.0]).view([2, 1]).expand([2, 3], false);
        assert!((spread(&y) - 2f64.sqrt()).abs() < 1e-6);
    }
}
