//! Communication between the ranks of a run.

use tch::{Device, Tensor};

use crate::step_stage::StepStage;

/// Why the ranks cannot talk to each other from their devices. All ranks have the same error.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The launch, or a variable, asks for what cannot be.
    #[error("{0}")]
    Refused(String),
    /// The transport has failed.
    #[error("{0}")]
    Failed(String),
}

/// Smallest sum, in bytes, that is worth overlapping with the computation. On two ranks with one thread each,
/// overlapping sums of 4 MiB cost no time, but a step of the quickstart (2 MiB of gradient in five sums) took
/// 10 to 18% longer.
pub const OVERLAPPED_BYTES: usize = 4 << 20;

/// A rank among those of its machine, and the machine among those of the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlace {
    /// Its number there, in `0..ranks`.
    pub rank: usize,
    /// Number of ranks there.
    pub ranks: usize,
    /// Number of the machine, in `0..nodes`, in the order of their first ranks.
    pub node: usize,
    /// Number of machines.
    pub nodes: usize,
}

impl NodePlace {
    /// The place of the only rank.
    pub const ALONE: NodePlace = NodePlace { rank: 0, ranks: 1, node: 0, nodes: 1 };
}

/// The ranks of a run. The models use only this trait. MPI is used only in its implementations.
///
/// A transport failure ends the whole job, so no operation on tensors returns an error that only some ranks
/// would see.
pub trait Collective {
    /// The rank of this process, in `0..size`.
    fn rank(&self) -> usize;
    /// Number of processes.
    fn size(&self) -> usize;
    /// The place of this rank on its machine. Every rank must call it.
    fn place_on_node(&self) -> NodePlace {
        NodePlace::ALONE
    }
    /// Called once by every rank when its device is known, for transports that depend on the device.
    ///
    /// # Errors
    /// A transport that cannot be set up.
    fn use_device(&self, _device: Device) -> Result<(), TransportError> {
        Ok(())
    }
    /// Replaces `tensor` (contiguous) with its sum over the ranks.
    fn all_reduce_sum(&self, tensor: &mut Tensor);
    /// Smallest sum, in bytes, that is worth overlapping with this rank's computation. `None` if a started
    /// sum makes no progress in the background.
    fn overlaps_from(&self) -> Option<usize> {
        None
    }
    /// Starts [`Collective::all_reduce_sum`]. `tensor` (contiguous) must not be accessed before
    /// [`Collective::finish_sums`] returns; it then holds the sum. Every rank must start the same sums in the
    /// same order, and must call no other method in between.
    fn start_sum(&self, mut tensor: Tensor) {
        self.all_reduce_sum(&mut tensor);
    }
    /// Waits until all started sums are complete.
    fn finish_sums(&self) {}
    /// Concatenates the ranks' tensors along dim 0 in rank order. `rows[r]` is the length of rank r's dim 0.
    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor;
    /// Replaces `tensor` with the tensor of rank 0.
    fn broadcast(&self, tensor: &mut Tensor);
    /// The collective of all ranks that pass the same `group`, in their current order. Every rank must call
    /// it.
    fn split(&self, group: usize) -> Box<dyn Collective>;
    /// Waits until every rank has called it.
    fn barrier(&self);
    /// [`Collective::barrier`] for long waits: it leaves the core to ranks that still work.
    fn idle_barrier(&self) {
        self.barrier();
    }
    /// Name and version of the transport.
    fn transport(&self) -> String {
        "none: one process".to_owned()
    }
    /// Called when a stage of a training step begins, for ranks that time it.
    fn begin_stage(&self, _stage: StepStage) {}
    /// Ends all ranks with exit code `code`.
    fn abort(&self, code: i32) -> !;
}

/// A run with a single process.
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

/// Number of rows that each of `ranks` ranks takes from a batch of `total` rows. The shares are contiguous
/// and in rank order. The first `total % ranks` ranks take one more row, so a batch that does not divide
/// evenly keeps its size and its order.
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
