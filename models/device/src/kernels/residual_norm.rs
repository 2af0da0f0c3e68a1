//! The sum of two tensors and its layer normalisation, in one pass forwards and one backwards.

use std::ffi::{c_char, c_void};

use tch::{Kind, Tensor, with_grad};

use super::driver::Kernel;
use super::forms::{Form, Forms};
use super::trial::{compare, made_up, rounding};
use crate::error::outcome;
use crate::vector_jacobian::{Graph, Output, try_vector_jacobian};

/// The longest rows that a warp keeps in registers.
const WIDEST: i64 = 1024;

static FORMS: Forms<ResidualNorm> = Forms::new("residual and layer normalisation");

/// What a trial compares.
const SEEN: [&str; 10] = [
    "the sum",
    "the normalised sum",
    "the gradient of one summand",
    "the gradient of the other summand",
    "the gradient of the weight",
    "the gradient of the bias",
    "the gradient of one summand by the normalised sum",
    "the gradient of the other summand by the normalised sum",
    "the gradient of the weight by the normalised sum",
    "the gradient of the bias by the normalised sum",
];

/// The parameters of a layer normalisation over the last axis.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// (width).
    pub weight: &'a Tensor,
    /// (width).
    pub bias: &'a Tensor,
    /// Added to the variance.
    pub eps: f64,
}

/// x + y, and its layer normalisation: (..., width) each. A kernel computes them and their gradients if there
/// is one; otherwise libtorch's operations do.
///
/// # Panics
/// Panics with libtorch's message, as tch's operations do.
pub fn residual_norm(x: &Tensor, y: &Tensor, norm: Norm<'_>) -> [Tensor; 2] {
    let width = norm.weight.numel() as i64;
    let alike = [y, norm.weight, norm.bias].iter().all(|other| other.kind() == x.kind());
    let fits = width <= WIDEST && x.size().last() == Some(&width) && y.size() == x.size();
    let form = Form::of(x, width).filter(|_| alike && fits);
    match form.and_then(|form| FORMS.get(form, ResidualNorm::compile, ResidualNorm::trial)) {
        Some(kernels) => kernels.apply(x, y, norm).unwrap_or_else(|error| panic!("{error}")),
        None => by_operations(x, y, norm),
    }
}

fn by_operations(x: &Tensor, y: &Tensor, Norm { weight, bias, eps }: Norm<'_>) -> [Tensor; 2] {
    let sum = x + y;
    let normed = sum.layer_norm([weight.numel() as i64], Some(weight), Some(bias), eps, true);
    [sum, normed]
}

/// The same, where the sum is normalised in float32 with parameters in float32. The backward pass of
/// libtorch's operation adds up the gradients of bfloat16 parameters in bfloat16 on CPUs.
fn by_float_operations(x: &Tensor, y: &Tensor, Norm { weight, bias, eps }: Norm<'_>) -> [Tensor; 2] {
    let [weight, bias] = [weight, bias].map(|parameter| parameter.to_kind(Kind::Float));
    let sum = x + y;
    let width = weight.numel() as i64;
    let normed = sum.to_kind(Kind::Float).layer_norm([width], Some(&weight), Some(&bias), eps, true);
    [sum, normed.to_kind(x.kind())]
}

/// As `native/residual_norm.cpp` declares it.
#[repr(C)]
struct ResidualNorm {
    forward: Kernel,
    backward: Kernel,
    column_sums: Kernel,
}

impl ResidualNorm {
    fn compile(form: Form) -> Result<ResidualNorm, String> {
        let kernels =
            form.compile(concat!(include_str!("residual_norm.cu"), include_str!("column_sums.cu")))?;
        Ok(ResidualNorm {
            forward: kernels.get(c"sum_and_norm")?,
            backward: kernels.get(c"sum_and_norm_backward")?,
            column_sums: kernels.get(c"column_sums")?,
        })
    }

    /// Values and gradients, where both results are used and where only the normalised sum is.
    fn trial(&self, form: Form) -> Result<(), String> {
        let (shape, options) = ([300, form.width()], form.options());
        let row = |frequency| made_up(&shape[1..], frequency, options);
        let leaves = [made_up(&shape, 0.7, options), made_up(&shape, 0.9, options), row(1.1) + 1.0, row(1.3)];
        let leaves = leaves.map(|values| values.set_requires_grad(true));
        let [x, y, weight, bias] = &leaves;
        let norm = Norm { weight, bias, eps: 1e-6 };
        let given = [1.7, 1.9].map(|frequency| made_up(&shape, frequency, options));
        let seen = |values: [Tensor; 2]| -> Result<Vec<Tensor>, String> {
            let output = |i: usize| Output { value: values[i].shallow_clone(), gradient: given[i].copy() };
            let both = try_vector_jacobian(&[output(0), output(1)], &leaves, Graph::Kept);
            let normed = try_vector_jacobian(&[output(1)], &leaves, Graph::Freed);
            let gradients = both.and_then(|both| Ok(both.into_iter().chain(normed?)));
            let gradients = gradients.map_err(|error| error.to_string())?;
            Ok(values.iter().map(Tensor::detach).chain(gradients).collect())
        };
        let found = with_grad(|| seen(self.apply(x, y, norm)?))?;
        let expected = with_grad(|| seen(by_float_operations(x, y, norm)))?;
        for (what, (found, expected)) in SEEN.iter().zip(found.iter().zip(&expected)) {
            compare(what, found, expected, rounding(options.0))?;
        }
        Ok(())
    }

    fn apply(
        &self,
        x: &Tensor,
        y: &Tensor,
        Norm { weight, bias, eps }: Norm<'_>,
    ) -> Result<[Tensor; 2], String> {
        let [x, y, weight, bias] = [x, y, weight, bias].map(|tensor| tensor.as_ptr().cast());
        let mut results = [std::ptr::null_mut(); 2];
        let [sum, normed] = &mut results;
        // SAFETY: the kernels are those that the function expects, and live as long as the process wherever a
        // graph outlives a trial; the tensors outlive the call, which writes both results.
        let message = unsafe { eqr_residual_norm(self, x, y, weight, bias, eps, sum, normed) };
        outcome(message).map_err(|error| error.to_string())?;
        // SAFETY: the call has written new tensors, which nobody else owns.
        Ok(results.map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }))
    }
}

// of native/residual_norm.cpp
unsafe extern "C" {
    fn eqr_residual_norm(
        kernels: *const ResidualNorm,
        x: *const c_void,
        y: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        eps: f64,
        sum: *mut *mut c_void,
        normed: *mut *mut c_void,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::super::trial::{compare, made_up, rounding, test_gpu};
    use super::{Norm, by_float_operations, residual_norm};
    use crate::vector_jacobian::{Graph, Output, vector_jacobian};

    /// Both results, and the gradients of summands, weight and bias. Only the normalised sum has a gradient
    /// if not `both`.
    fn seen(
        leaves: &[Tensor; 4],
        both: bool,
        results: fn(&Tensor, &Tensor, Norm<'_>) -> [Tensor; 2],
    ) -> Vec<Tensor> {
        let [x, y, weight, bias] = leaves;
        let values = results(x, y, Norm { weight, bias, eps: 1e-6 });
        let output = |i: usize| {
            let given = made_up(&x.size(), 1.7 + i as f64, (x.kind(), Device::Cpu)).to_device(x.device());
            Output { value: values[i].shallow_clone(), gradient: given }
        };
        let outputs = if both { vec![output(0), output(1)] } else { vec![output(1)] };
        let gradients = vector_jacobian(&outputs, leaves, Graph::Freed);
        values.iter().map(Tensor::detach).chain(gradients).collect()
    }

    #[test]
    fn a_kernel_has_the_values_and_gradients_of_the_operations() {
        let Some(device) = test_gpu() else { return };
        for kind in [Kind::Float, Kind::BFloat16] {
            for shape in [[1, 1, 192], [3, 17, 384], [2, 150, 100], [5, 4, 768], [40, 120, 36], [0, 17, 192]]
            {
                let leaf = |shape: &[i64], frequency: f64, offset: f64| {
                    made_up(shape, frequency, (kind, Device::Cpu)) + offset
                };
                let leaves = [
                    leaf(&shape, 0.7, 0.0),
                    leaf(&shape, 0.9, 0.3),
                    leaf(&shape[2..], 1.1, 1.0),
                    leaf(&shape[2..], 1.3, 0.0),
                ];
                let on = |device: Device| {
                    leaves.each_ref().map(|leaf| leaf.to_device(device).detach().set_requires_grad(true))
                };
                for both in [true, false] {
                    let found = seen(&on(device), both, residual_norm);
                    let expected = seen(&on(Device::Cpu), both, by_float_operations);
                    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        if expected.numel() == 0 {
                            continue;
                        }
                        let what = format!("{kind:?}, {shape:?}, result {i}");
                        compare(&what, &found.to_device(Device::Cpu), expected, rounding(kind)).unwrap();
                    }
                }
            }
        }
    }
}
