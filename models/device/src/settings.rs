//! Settings of libtorch for a GPU, and the memory that it keeps, which tch lacks.

use std::ffi::c_char;

use crate::error::{DeviceError, outcome};

/// Computes products and convolutions of float32 in float32. By default, libtorch lets cuDNN round the
/// factors of convolutions to TF32, which has 10 bits of mantissa.
///
/// # Errors
/// A message of libtorch.
pub fn compute_in_float32() -> Result<(), DeviceError> {
    // SAFETY: takes no pointers.
    outcome(unsafe { eqr_compute_in_float32() })
}

/// Uses deterministic algorithms alone. Operations that have none are errors from now on.
///
/// # Errors
/// A message of libtorch.
pub fn be_deterministic() -> Result<(), DeviceError> {
    // SAFETY: takes no pointers.
    outcome(unsafe { eqr_be_deterministic() })
}

/// Gives the memory of freed tensors, which libtorch keeps for later ones, back to the GPU.
///
/// # Errors
/// No CUDA half of libtorch is loaded.
pub fn release_cached_memory() -> Result<(), DeviceError> {
    // SAFETY: takes no pointers.
    outcome(unsafe { eqr_release_cached_memory() })
}

// of native/settings.cpp
unsafe extern "C" {
    fn eqr_compute_in_float32() -> *mut c_char;
    fn eqr_be_deterministic() -> *mut c_char;
    fn eqr_release_cached_memory() -> *mut c_char;
}
