//! A stand-in for the ranks of a launch, which times a step without overlap.

use eqr_models::Collective;
use tch::Tensor;

/// The same ranks without overlap: they sum the gradient after the backward pass.
pub(super) struct SumAfterwards<'a>(pub(super) &'a dyn Collective);

impl Collective for SumAfterwards<'_> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn all_reduce_sum(&self, tensor: &mut Tensor) {
        self.0.all_reduce_sum(tensor);
    }

    fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        self.0.all_gather(tensor, rows)
    }

    fn broadcast(&self, tensor: &mut Tensor) {
        self.0.broadcast(tensor);
    }

    fn split(&self, group: usize) -> Box<dyn Collective> {
        self.0.split(group)
    }

    fn barrier(&self) {
        self.0.barrier();
    }

    fn abort(&self, code: i32) -> ! {
        self.0.abort(code)
    }
}
