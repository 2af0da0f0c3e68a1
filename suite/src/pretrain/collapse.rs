//! Whether representations collapse: standard deviation and effective rank of y on one batch.

use eqr_models::Collective;
use eqr_probes::effective_rank;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::encoder::network::Network;

/// Number of images encoded for the statistics, over all ranks. They are few and encoded once per epoch, so
/// the cost is negligible.
const IMAGES: usize = 64;

/// Statistics of y on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CollapseStatistics {
    /// `embedding_std`.
    pub embedding_std: f64,
    /// [`effective_rank`].
    pub effective_rank: f64,
    /// Number of images.
    pub images: i64,
}

impl CollapseStatistics {
    /// Measures y on the first of `images` (n, 3, H, W), of which rank r holds `rows[r]`. The result is the
    /// same on every rank.
    pub fn measure(
        network: &Network,
        images: &Tensor,
        rows: &[i64],
        ranks: &dyn Collective,
    ) -> CollapseStatistics {
        let compute = network.arena.compute();
        tch::no_grad(|| {
            let most = IMAGES.div_ceil(ranks.size()) as i64;
            let rows: Vec<i64> = rows.iter().map(|&rows| rows.min(most)).collect();
            let images = images.narrow(0, 0, rows[ranks.rank()]).to_kind(compute.kind());
            let y = network.model.encoder.forward(&network.arena, &images).y.to_kind(compute.master_kind());
            let y = ranks.all_gather(&y, &rows);
            CollapseStatistics {
                embedding_std: embedding_std(&y),
                effective_rank: effective_rank(&y),
                images: y.size()[0],
            }
        })
    }
}

/// Mean over the dimensions of the standard deviation over the rows of `y` (N, D).
fn embedding_std(y: &Tensor) -> f64 {
    y.std_dim([0i64].as_slice(), true, false).mean(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use eqr_probes::effective_rank;
    use tch::{Device, Kind, Tensor};

    use super::embedding_std;

    #[test]
    fn a_collapsed_batch_has_neither_spread_nor_rank() {
        let y = Tensor::ones([6, 4], (Kind::Float, Device::Cpu));
        assert_eq!((embedding_std(&y), effective_rank(&y)), (0.0, 0.0));
        let y = Tensor::from_slice(&[1.0f32, -1.0]).view([2, 1]).expand([2, 3], false);
        assert!((embedding_std(&y) - 2f64.sqrt()).abs() < 1e-6);
    }
}
