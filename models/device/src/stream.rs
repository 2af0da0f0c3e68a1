//! Streams and events of a GPU, which tch lacks: queues of work on the device, and marks in them.
//!
//! They work once libtorch's CUDA half is loaded; before that, every call is an error.

use std::ffi::{c_char, c_int, c_void};

use tch::Tensor;

use crate::error::{DeviceError, outcome};

/// A queue of work on a GPU. Work in one stream runs in order; work in different streams runs concurrently,
/// unless one waits for an event of the other.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    gpu: c_int,
    /// libtorch's number of the stream.
    id: i64,
}

/// A place in the work of a stream.
#[derive(Debug)]
pub struct Event {
    gpu: c_int,
    handle: *mut c_void,
}

// SAFETY: the handle is not bound to a thread, and CUDA's calls on events may be made from several.
unsafe impl Send for Event {}
// SAFETY: as above; the handle does not change after `Event::record`.
unsafe impl Sync for Event {}

/// Makes a GPU the current one of this thread, for libraries that work on the current one.
///
/// # Errors
/// A GPU that does not exist or does not start.
pub fn use_gpu(gpu: usize) -> Result<(), DeviceError> {
    // SAFETY: takes no pointers.
    outcome(unsafe { eqr_use_gpu(index(gpu)) })
}

impl Stream {
    /// A stream besides that of the computation.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn new(gpu: usize) -> Result<Self, DeviceError> {
        let (gpu, mut id) = (index(gpu), 0);
        // SAFETY: `id` outlives the call, which writes it.
        outcome(unsafe { eqr_stream_new(gpu, &raw mut id) })?;
        Ok(Stream { gpu, id })
    }

    /// The stream that this thread's operations are queued on.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn current(gpu: usize) -> Result<Self, DeviceError> {
        let (gpu, mut id) = (index(gpu), 0);
        // SAFETY: `id` outlives the call, which writes it.
        outcome(unsafe { eqr_stream_current(gpu, &raw mut id) })?;
        Ok(Stream { gpu, id })
    }

    /// The number of its GPU.
    pub fn gpu(self) -> usize {
        self.gpu as usize
    }

    /// Queues this thread's operations on the stream from now on.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn make_current(self) -> Result<(), DeviceError> {
        // SAFETY: takes no pointers.
        outcome(unsafe { eqr_stream_make_current(self.gpu, self.id) })
    }

    /// CUDA's handle of the stream, for libraries that queue work of their own. It is null for the default
    /// stream, and libtorch owns it.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn native_handle(self) -> Result<*mut c_void, DeviceError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` outlives the call, which writes it.
        outcome(unsafe { eqr_stream_handle(self.gpu, self.id, &raw mut handle) })?;
        Ok(handle)
    }

    /// Makes work that is queued from now on wait for the event.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn wait_for(self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: the handle is that of a recorded event.
        outcome(unsafe { eqr_stream_wait(self.gpu, self.id, event.handle) })
    }

    /// Keeps the memory of `tensor`, which is on this stream's GPU, until the work queued so far is done,
    /// even if the tensor is dropped before.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn keep(self, tensor: &Tensor) -> Result<(), DeviceError> {
        // SAFETY: the tensor outlives the call, and is the C++ tensor that the function expects.
        outcome(unsafe { eqr_stream_keep(self.gpu, self.id, tensor.as_ptr().cast()) })
    }
}

impl Event {
    /// Marks the end of the work that was queued on `stream` so far.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn record(stream: Stream) -> Result<Self, DeviceError> {
        let mut event = Event { gpu: stream.gpu, handle: std::ptr::null_mut() };
        // SAFETY: a null handle makes the call create the event and write its handle.
        outcome(unsafe { eqr_event_record(stream.gpu, stream.id, &raw mut event.handle) })?;
        Ok(event)
    }

    /// Moves the mark to the present end of `stream`, of the same GPU.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn move_to(&self, stream: Stream) -> Result<(), DeviceError> {
        let mut handle = self.handle;
        // SAFETY: the handle is that of a recorded event, which the call does not replace.
        outcome(unsafe { eqr_event_record(stream.gpu, stream.id, &raw mut handle) })
    }

    /// Whether the device has done all work before the mark. Does not wait.
    ///
    /// # Errors
    /// An error of CUDA, which may come from earlier work.
    pub fn has_passed(&self) -> Result<bool, DeviceError> {
        let mut passed = false;
        // SAFETY: the handle is that of a recorded event; `passed` outlives the call, which writes it.
        outcome(unsafe { eqr_event_passed(self.handle, &raw mut passed) })?;
        Ok(passed)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // nothing is lost if it fails: the device is no longer usable then
        // SAFETY: the handle is null or that of an event, and is not used after this.
        let _ = outcome(unsafe { eqr_event_destroy(self.gpu, self.handle) });
    }
}

fn index(gpu: usize) -> c_int {
    c_int::try_from(gpu).unwrap_or(c_int::MAX)
}

// of native/stream.cpp
unsafe extern "C" {
    fn eqr_use_gpu(gpu: c_int) -> *mut c_char;
    fn eqr_stream_new(gpu: c_int, id: *mut i64) -> *mut c_char;
    fn eqr_stream_current(gpu: c_int, id: *mut i64) -> *mut c_char;
    fn eqr_stream_make_current(gpu: c_int, id: i64) -> *mut c_char;
    fn eqr_stream_handle(gpu: c_int, id: i64, handle: *mut *mut c_void) -> *mut c_char;
    fn eqr_stream_keep(gpu: c_int, id: i64, tensor: *const c_void) -> *mut c_char;
    fn eqr_stream_wait(gpu: c_int, id: i64, event: *mut c_void) -> *mut c_char;
    fn eqr_event_record(gpu: c_int, id: i64, event: *mut *mut c_void) -> *mut c_char;
    fn eqr_event_passed(event: *mut c_void, passed: *mut bool) -> *mut c_char;
    fn eqr_event_destroy(gpu: c_int, event: *mut c_void) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::{Stream, use_gpu};
    use crate::test_device::test_device;

    #[test]
    fn without_a_cuda_half_every_call_is_an_error_and_no_exception() {
        // tests on a GPU have loaded one
        if test_device().is_cuda() {
            return;
        }
        let refused = [use_gpu(0).unwrap_err(), Stream::new(0).unwrap_err()];
        for error in refused {
            assert!(error.to_string().contains("cuda"), "{error}");
        }
    }
}
