//! What a training step asks of the other ranks.

use tch::{Device, Tensor};

/// Bytes of a sum from which it is worth starting beside the computation. On two ranks of one thread, sums of
/// 4 MiB cost no time, and a step of the quickstart (2 MiB of gradient in five sums) took 10 to 18% longer.
pub const OVERLAPPED_BYTES: usize = 4 << 20;

/// The ranks of a run. The models only know this trait; its implementations are where MPI is.
///
/// A failing transport ends the whole job: no method returns an error that one rank could see and another
/// could not.
pub trait Collective {
    /// This process, `0..size`.
    fn rank(&self) -> usize;
    /// Number of processes.
    fn size(&self) -> usize;
    /// Called once by every rank when it knows its device, for transports that depend on it.
    ///
    /// # Errors
    /// What the transport says where it cannot be set up. Other ranks may then not have joined, so the job
    /// must end.
    fn use_device(&self, _device: Device) -> Result<(), String> {
        Ok(())
    }
    /// Replaces `tensor` (contiguous) by its sum over the ranks.
    fn all_reduce_sum(&self, tensor: &mut Tensor);
    /// Bytes of a sum from which it is worth starting beside this rank's computation. `None` where a started
    /// sum makes no progress by itself.
    fn overlaps_from(&self) -> Option<usize> {
        None
    }
    /// As [`Collective::all_reduce_sum`], but `tensor` (contiguous) holds the sum, and may be touched again,
    /// only after [`Collective::finish_sums`]. Every rank starts the same sums in the same order, and calls
    /// nothing else in between.
    fn start_sum(&self, mut tensor: Tensor) {
        self.all_reduce_sum(&mut tensor);
    }
    /// Returns when all started sums are complete.
    fn finish_sums(&self) {}
    /// Concatenates the ranks' tensors along dim 0 in rank order. `rows[r]` is the length of rank r's dim 0.
    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor;
    /// Replaces `tensor` by rank 0's.
    fn broadcast(&self, tensor: &mut Tensor);
    /// The ranks that call this with the same `group`, in their order here. Every rank must call it.
    fn split(&self, group: usize) -> Box<dyn Collective>;
    /// Returns when every rank is here.
    fn barrier(&self);
    /// What carries the data, with its version.
    fn transport(&self) -> String {
        "none: one process".to_owned()
    }
    /// Ends every rank with `code`.
    fn abort(&self, code: i32) -> !;
}

/// One process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _tensor: &mut Tensor) {}

    fn all_gather(&self, tensor: &Tensor, _rows: &[i64]) -> Tensor {
        tensor.shallow_clone()
    }

    fn broadcast(&self, _tensor: &mut Tensor) {}

    fn split(&self, _group: usize) -> Box<dyn Collective> {
        Box::new(Solo)
    }

    fn barrier(&self) {}

    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}

/// Rows of a batch of `total` that each of `ranks` takes: contiguous runs in rank order, the first `total %
/// ranks` one longer, so that a batch which does not divide evenly keeps its size and its order.
pub fn shares(total: usize, ranks: usize) -> Vec<usize> {
    (0..ranks).map(|rank| total / ranks + usize::from(rank < total % ranks)).collect()
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_cover_the_batch_and_differ_by_one_at_most() {
        assert_eq!(shares(64, 3), [22, 21, 21]);
        assert_eq!(shares(2, 2), [1, 1]);
        assert_eq!(shares(5, 1), [5]);
    }
}
