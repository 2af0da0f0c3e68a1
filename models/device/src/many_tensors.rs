//! Operations on many tensors at once, and Adam's update as one operation. A GPU runs them as a few kernels,
//! whatever the number of tensors. tch lacks them.
//!
//! All functions panic with libtorch's message, as tch's operations do.

use std::ffi::{c_char, c_void};

use tch::Tensor;

use crate::error::outcome;

/// Copies each tensor of `from` into the one of `to` with its shape.
pub fn copy_each(to: &[Tensor], from: &[Tensor]) {
    on_pairs(to, from, eqr_copy_each);
}

/// Adds each tensor of `from` to the one of `to` with its shape.
pub fn add_each(to: &[Tensor], from: &[Tensor]) {
    on_pairs(to, from, eqr_add_each);
}

/// Arrays of Adam: tensors of one shape, kind and device.
pub struct AdamArrays<'a> {
    /// Parameters, which are updated.
    pub values: &'a Tensor,
    /// Gradients of the parameters.
    pub gradients: &'a Tensor,
    /// Mean of the gradients, which is updated.
    pub m: &'a Tensor,
    /// Mean of the squared gradients, which is updated.
    pub v: &'a Tensor,
}

/// Numbers of Adam's update, in the notation of torch's `Adam`.
pub struct AdamNumbers {
    /// Learning rate.
    pub lr: f64,
    /// Decay of both means a step.
    pub betas: [f64; 2],
    /// Factor of the parameters in the gradient.
    pub weight_decay: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
}

/// torch's Adam, by its fused operation. `step` is the number of the update, counted from 1: a tensor without
/// dimensions, float32.
pub fn fused_adam(arrays: AdamArrays<'_>, step: &Tensor, numbers: AdamNumbers) {
    let AdamArrays { values, gradients, m, v } = arrays;
    let AdamNumbers { lr, betas: [beta1, beta2], weight_decay, eps } = numbers;
    let [values, gradients, m, v, step] = [values, gradients, m, v, step].map(pointer);
    // SAFETY: the pointers are those of tensors that outlive the call.
    succeed(unsafe { eqr_fused_adam(values, gradients, m, v, step, lr, beta1, beta2, weight_decay, eps) });
}

/// A function of two lists of equally many tensors.
type OnPairs = unsafe extern "C" fn(*const *const c_void, *const *const c_void, i64) -> *mut c_char;

fn on_pairs(to: &[Tensor], from: &[Tensor], operation: OnPairs) {
    assert_eq!(to.len(), from.len(), "pairs of tensors");
    if to.is_empty() {
        return;
    }
    let [to, from] = [to, from].map(|all| all.iter().map(pointer).collect::<Vec<_>>());
    // SAFETY: the pointers are those of tensors that outlive the call, as many as it is told.
    succeed(unsafe { operation(to.as_ptr(), from.as_ptr(), to.len() as i64) });
}

fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

fn succeed(message: *mut c_char) {
    if let Err(error) = outcome(message) {
        panic!("{error}");
    }
}

// of native/many_tensors.cpp
unsafe extern "C" {
    fn eqr_copy_each(to: *const *const c_void, from: *const *const c_void, count: i64) -> *mut c_char;
    fn eqr_add_each(to: *const *const c_void, from: *const *const c_void, count: i64) -> *mut c_char;
    fn eqr_fused_adam(
        values: *const c_void,
        gradients: *const c_void,
        m: *const c_void,
        v: *const c_void,
        step: *const c_void,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
}
