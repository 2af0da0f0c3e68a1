//! A linear layer and GELU. The kernel is in the backward pass: it adds up the gradient of the bias while it
//! computes that of the layer's output, which libtorch reads once more for it.

use std::ffi::{c_char, c_void};

use tch::{Tensor, with_grad};

use super::driver::Kernel;
use super::forms::{Form, Forms};
use super::trial::{compare, made_up, rounding};
use crate::error::outcome;
use crate::vector_jacobian::{Graph, Output, try_vector_jacobian};

static FORMS: Forms<BiasGelu> = Forms::new("GELU");

/// GELU of `x W^T + b`: (..., inputs) -> (..., outputs), for a weight (outputs, inputs) and a bias (outputs).
/// A kernel computes the gradients if there is one; otherwise libtorch's operations do.
///
/// # Panics
/// Panics with libtorch's message, as tch's operations do.
pub fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let form = Form::of(x, 1).filter(|_| bias.kind() == x.kind());
    match form.and_then(|form| FORMS.get(form, BiasGelu::compile, BiasGelu::trial)) {
        Some(kernels) => {
            let hidden = x.linear(weight, Some(bias.detach()));
            kernels.apply(&hidden, bias).unwrap_or_else(|error| panic!("{error}"))
        }
        None => x.linear(weight, Some(bias)).gelu("none"),
    }
}

/// As `native/gelu.cpp` declares it.
#[repr(C)]
struct BiasGelu {
    backward: Kernel,
    column_sums: Kernel,
}

impl BiasGelu {
    fn compile(form: Form) -> Result<BiasGelu, String> {
        let kernels = form.compile(concat!(include_str!("gelu.cu"), include_str!("column_sums.cu")))?;
        Ok(BiasGelu { backward: kernels.get(c"gelu_backward")?, column_sums: kernels.get(c"column_sums")? })
    }

    /// The gradients of the layer's output and of the bias.
    fn trial(&self, form: Form) -> Result<(), String> {
        // more columns than a block, more rows than a row of blocks begins with
        let (shape, options) = ([300, 270], form.options());
        let product = (made_up(&shape, 0.7, options) * 4.0).set_requires_grad(true);
        let bias = made_up(&shape[1..], 1.1, options).set_requires_grad(true);
        let given = made_up(&shape, 1.7, options);
        let leaves = [product.shallow_clone(), bias.shallow_clone()];
        let gradients = |value: Tensor| {
            let output = Output { value, gradient: given.copy() };
            try_vector_jacobian(&[output], &leaves, Graph::Freed).map_err(|error| error.to_string())
        };
        let found = with_grad(|| gradients(self.apply(&(&product + bias.detach()), &bias)?))?;
        let expected = with_grad(|| gradients((&product + &bias).gelu("none")))?;
        compare("the gradient of the input", &found[0], &expected[0], rounding(options.0))?;
        compare("the gradient of the bias", &found[1], &expected[1], rounding(options.0))
    }

    /// GELU of `hidden`, which contains the bias.
    fn apply(&self, hidden: &Tensor, bias: &Tensor) -> Result<Tensor, String> {
        let mut result = std::ptr::null_mut();
        let [hidden, bias] = [hidden, bias].map(|tensor| tensor.as_ptr().cast());
        // SAFETY: the kernels are those that the function expects, and live as long as the process wherever a
        // graph outlives a trial; the tensors outlive the call, which writes the result.
        outcome(unsafe { eqr_bias_gelu(self, hidden, bias, &raw mut result) })
            .map_err(|error| error.to_string())?;
        // SAFETY: the call has written a new tensor, which nobody else owns.
        Ok(unsafe { Tensor::from_ptr(result.cast()) })
    }
}

// of native/gelu.cpp
unsafe extern "C" {
    fn eqr_bias_gelu(
        kernels: *const BiasGelu,
        hidden: *const c_void,
        bias: *const c_void,
        result: *mut *mut c_void,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::super::trial::{compare, made_up, rounding, test_gpu};
    use super::linear_gelu;
    use crate::vector_jacobian::{Graph, Output, vector_jacobian};

    /// The result and the gradients of input, weight and bias.
    fn seen(leaves: &[Tensor; 3], result: fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> Vec<Tensor> {
        let [x, weight, bias] = leaves;
        let value = result(x, weight, bias);
        let given = made_up(&value.size(), 1.7, (x.kind(), Device::Cpu)).to_device(x.device());
        let result = value.detach();
        let gradients = vector_jacobian(&[Output { value, gradient: given }], leaves, Graph::Freed);
        std::iter::once(result).chain(gradients).collect()
    }

    #[test]
    fn a_kernel_has_the_gradients_of_the_operations() {
        let Some(device) = test_gpu() else { return };
        let operations =
            |x: &Tensor, weight: &Tensor, bias: &Tensor| x.linear(weight, Some(bias)).gelu("none");
        for kind in [Kind::Float, Kind::BFloat16] {
            for (rows, inputs, outputs) in [(1, 8, 100), (17, 48, 192), (300, 16, 768), (0, 8, 192)] {
                let leaves = [
                    made_up(&[2, rows, inputs], 0.7, (kind, Device::Cpu)),
                    made_up(&[outputs, inputs], 0.9, (kind, Device::Cpu)),
                    made_up(&[outputs], 1.1, (kind, Device::Cpu)) * 2.0,
                ];
                let on = |device: Device| {
                    leaves.each_ref().map(|leaf| leaf.to_device(device).detach().set_requires_grad(true))
                };
                let (found, expected) = (seen(&on(device), linear_gelu), seen(&on(Device::Cpu), operations));
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    if expected.numel() == 0 {
                        continue;
                    }
                    let what = format!("{kind:?}, {rows} x {inputs} -> {outputs}, result {i}");
                    compare(&what, &found.to_device(Device::Cpu), expected, rounding(kind)).unwrap();
                }
            }
        }
    }
}
