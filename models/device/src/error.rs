//! Errors of the C++ in `native/`, which calls libtorch.

use std::ffi::{CStr, c_char};

/// The message of libtorch or CUDA.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

/// The result of a function of `native/`: null, or a message.
pub(crate) fn outcome(message: *mut c_char) -> Result<(), DeviceError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is NUL-terminated.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: the C++ made it by malloc; the text is a copy, and the message is not used after this.
    unsafe { eqr_free_message(message) };
    Err(DeviceError(text))
}

// of native/stream.cpp
unsafe extern "C" {
    fn eqr_free_message(message: *mut c_char);
}
