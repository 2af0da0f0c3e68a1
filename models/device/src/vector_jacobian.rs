//! Vector-Jacobian products: gradients of tensors, which tch computes for numbers only. Summing up a tensor
//! to a number first costs a product as large as the tensor, forwards and backwards.

use std::ffi::{c_char, c_void};

use tch::Tensor;

use crate::error::{DeviceError, outcome};

/// A differentiated tensor.
pub struct Output {
    /// The tensor, with its graph.
    pub value: Tensor,
    /// The gradient of the objective with respect to `value`, of its shape and kind.
    pub gradient: Tensor,
}

impl Output {
    /// A number that is a part of the objective itself.
    pub fn number(value: Tensor) -> Output {
        let gradient = value.ones_like();
        Output { value, gradient }
    }
}

/// What happens to the graph of the outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    /// Its memory is freed on the way.
    Freed,
    /// It can be differentiated again.
    Kept,
}

/// The gradient of the objective with respect to each of `inputs`. It is undefined for inputs that no output
/// depends on.
///
/// # Panics
/// Panics with libtorch's message, for example that the device has no memory left.
pub fn vector_jacobian(outputs: &[Output], inputs: &[Tensor], graph: Graph) -> Vec<Tensor> {
    try_vector_jacobian(outputs, inputs, graph).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`vector_jacobian`], with libtorch's message as an error.
pub(crate) fn try_vector_jacobian(
    outputs: &[Output],
    inputs: &[Tensor],
    graph: Graph,
) -> Result<Vec<Tensor>, DeviceError> {
    let pointers = |tensors: &mut dyn Iterator<Item = &Tensor>| -> Vec<*const c_void> {
        tensors.map(|tensor| tensor.as_ptr().cast()).collect()
    };
    let values = pointers(&mut outputs.iter().map(|output| &output.value));
    let weights = pointers(&mut outputs.iter().map(|output| &output.gradient));
    let of = pointers(&mut inputs.iter());
    let mut gradients = vec![std::ptr::null_mut(); inputs.len()];
    // SAFETY: all pointers are those of tensors that outlive the call; there are as many as the counts say,
    // and room for as many results.
    let message = unsafe {
        eqr_vector_jacobian(
            values.as_ptr(),
            weights.as_ptr(),
            outputs.len() as i64,
            of.as_ptr(),
            inputs.len() as i64,
            graph == Graph::Kept,
            gradients.as_mut_ptr(),
        )
    };
    outcome(message)?;
    // SAFETY: the call has written a new tensor, which nobody else owns, for every input.
    Ok(gradients.into_iter().map(|gradient| unsafe { Tensor::from_ptr(gradient.cast()) }).collect())
}

// of native/vector_jacobian.cpp
unsafe extern "C" {
    fn eqr_vector_jacobian(
        outputs: *const *const c_void,
        weights: *const *const c_void,
        output_count: i64,
        inputs: *const *const c_void,
        input_count: i64,
        keep_graph: bool,
        gradients: *mut *mut c_void,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use crate::test_device::{test_device, test_tensor};
    use tch::{Kind, Tensor};

    use super::{Graph, Output, vector_jacobian};

    fn leaf(values: &[f64]) -> Tensor {
        test_tensor(values).set_requires_grad(true)
    }

    /// (a^2, 3 a) with weights w and 1: the gradient with respect to a is 2 a w + 3.
    #[test]
    fn products_add_up_over_the_outputs() {
        let (a, unused) = (leaf(&[1.0, -2.0]), leaf(&[5.0]));
        let weights = test_tensor(&[0.5, 4.0]);
        let outputs =
            [Output { value: &a * &a, gradient: weights }, Output::number((&a * 3.0).sum(Kind::Double))];
        let inputs = [a, unused];
        let first = vector_jacobian(&outputs, &inputs, Graph::Kept);
        assert_eq!(Vec::<f64>::try_from(&first[0]).unwrap(), [4.0, -13.0]);
        assert!(!first[1].defined());
        let again = vector_jacobian(&outputs, &inputs, Graph::Freed);
        assert_eq!(again[0], first[0]);
    }

    #[test]
    #[should_panic(expected = "got [3] but expected shape compatible with [2]")]
    fn weights_of_another_shape_are_refused_in_words() {
        let a = leaf(&[1.0, 2.0]);
        let weights = Tensor::ones([3], (Kind::Double, test_device()));
        vector_jacobian(&[Output { value: &a * 2.0, gradient: weights }], &[a], Graph::Freed);
    }
}
