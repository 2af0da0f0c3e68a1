//! A stand-in for the ranks of a launch: the computation of one of them, without the others.

use eqr_models::Collective;
use tch::{Kind, Tensor};

/// Rank `rank` of `size` ranks, of which the others do not exist. It gathers its own rows in place of theirs,
/// and its sums are its own values. A step with it is the computation of one device among `size`.
pub struct AbsentRanks {
    /// The rank that exists.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
}

impl Collective for AbsentRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&self, _tensor: &mut Tensor) {}

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let own = tensor.size()[0].max(1);
        let rows = Tensor::arange(rows.iter().sum::<i64>(), (Kind::Int64, tensor.device())).remainder(own);
        tensor.index_select(0, &rows)
    }

    fn broadcast(&self, _tensor: &mut Tensor) {}

    fn split(&self, _group: usize) -> Box<dyn Collective> {
        Box::new(AbsentRanks { ..*self })
    }

    fn barrier(&self) {}

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

#[cfg(test)]
mod tests {
    use eqr_models::Collective;
    use tch::Tensor;

    use super::AbsentRanks;

    #[test]
    fn absent_ranks_repeat_the_rows_that_are_there() {
        let own = Tensor::from_slice(&[1f32, 2.0]).view([2, 1]);
        let gather = AbsentRanks { rank: 0, size: 3 }.all_gather(&own, &[2, 2, 1]);
        assert_eq!(Vec::<f32>::try_from(gather.flatten(0, -1)).unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0]);
    }
}
