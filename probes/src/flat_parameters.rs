//! Parameters of a small network in one buffer, which an optimiser changes in one pass.

use tch::Tensor;

/// Parameters one after the other, and views of them that gradients are taken of.
pub(crate) struct FlatParameters {
    /// All parameters, (P).
    pub(crate) flat: Tensor,
    /// Views of `flat`, in the order and with the shapes of the parameters.
    pub(crate) leaves: Vec<Tensor>,
}

impl FlatParameters {
    /// Copies `drawn`, float32 on one device.
    pub(crate) fn new(drawn: &[Tensor]) -> FlatParameters {
        let flat = one_after_the_other(drawn);
        let mut start = 0;
        let leaf = |tensor: &Tensor| {
            let length = tensor.numel() as i64;
            start += length;
            flat.narrow(0, start - length, length).view(&tensor.size()[..]).detach().set_requires_grad(true)
        };
        let leaves = drawn.iter().map(leaf).collect();
        FlatParameters { flat, leaves }
    }

    /// Gradient of a loss, like `flat`.
    pub(crate) fn gradient(&self, loss: impl FnOnce() -> Tensor) -> Tensor {
        tch::with_grad(|| one_after_the_other(&Tensor::run_backward(&[loss()], &self.leaves, false, false)))
    }
}

fn one_after_the_other(tensors: &[Tensor]) -> Tensor {
    Tensor::cat(&tensors.iter().map(|tensor| tensor.flatten(0, -1)).collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_tensor;

    /// The loss sum(w^2) + 3 b has the gradients 2 w and 3.
    #[test]
    fn leaves_follow_the_buffer_and_gradients_lie_like_it() {
        let drawn = [test_tensor(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]), test_tensor(&[5f32])];
        let mut parameters = FlatParameters::new(&drawn);
        let _ = tch::no_grad(|| parameters.flat.g_mul_scalar_(10.0));
        assert_eq!(Vec::<f32>::try_from(parameters.leaves[0].view(-1)).unwrap(), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(Vec::<f32>::try_from(&drawn[1]).unwrap(), [5.0]);
        let gradient = parameters.gradient(|| {
            let [weight, bias] = &parameters.leaves[..] else { unreachable!("two parameters") };
            weight.square().sum(tch::Kind::Float) + bias.sum(tch::Kind::Float) * 3.0
        });
        assert_eq!(Vec::<f32>::try_from(gradient).unwrap(), [20.0, 40.0, 60.0, 80.0, 3.0]);
    }
}
