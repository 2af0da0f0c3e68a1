//! Work of a GPU that is recorded once and launched whole: a CUDA graph. One launch costs the host less than
//! one for each kernel, which pays where kernels are short.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use crate::error::{DeviceError, outcome};
use crate::settings::release_cached_memory;
use crate::stream::{Event, Stream, use_gpu};

/// How often the work runs before it is recorded. Libraries set themselves up at their first calls, which
/// cannot be recorded.
const WARM_UPS: usize = 2;

/// The streams that work is recorded on, by GPU: libtorch keeps memory for products with every stream.
static STREAMS: Mutex<BTreeMap<usize, Stream>> = Mutex::new(BTreeMap::new());

/// Recorded work. It reads and writes the memory that it had when it was recorded.
#[derive(Debug)]
pub struct DeviceGraph {
    gpu: usize,
    handle: *mut c_void,
}

impl DeviceGraph {
    /// Runs `work` twice, then records it and returns what it returned: tensors that a launch writes, and
    /// that hold nothing before. Memory that it allocates stays the graph's. `work` may wait for no result of
    /// the device and copy nothing from the host.
    ///
    /// # Errors
    /// No CUDA half of libtorch; an error of CUDA, as of work that cannot be recorded. The thread may be left
    /// on another stream then.
    pub fn record<T>(gpu: usize, mut work: impl FnMut() -> T) -> Result<(DeviceGraph, T), DeviceError> {
        // libtorch's graphs are of the current GPU
        use_gpu(gpu)?;
        let before = Stream::current(gpu)?;
        let own = stream(gpu)?;
        own.wait_for(&Event::record(before)?)?;
        own.make_current()?;
        for _ in 0..WARM_UPS {
            work();
        }
        // what the runs have freed is of no use to the graph, which has memory of its own
        release_cached_memory()?;
        let mut graph = DeviceGraph { gpu, handle: std::ptr::null_mut() };
        // SAFETY: `handle` outlives the call, which writes it.
        outcome(unsafe { eqr_graph_begin(&raw mut graph.handle) })?;
        let result = work();
        // SAFETY: the handle is that of a graph that is being recorded.
        outcome(unsafe { eqr_graph_end(graph.handle) })?;
        before.make_current()?;
        before.wait_for(&Event::record(own)?)?;
        Ok((graph, result))
    }

    /// Queues the work on this thread's stream.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn launch(&self) -> Result<(), DeviceError> {
        use_gpu(self.gpu)?;
        // SAFETY: the handle is that of a recorded graph.
        outcome(unsafe { eqr_graph_launch(self.handle) })
    }
}

fn stream(gpu: usize) -> Result<Stream, DeviceError> {
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stream) = streams.get(&gpu) {
        return Ok(*stream);
    }
    let stream = Stream::new(gpu)?;
    streams.insert(gpu, stream);
    Ok(stream)
}

impl Drop for DeviceGraph {
    fn drop(&mut self) {
        // nothing is lost if it fails: the device is no longer usable then
        // SAFETY: the handle is null or that of a graph, and is not used after this.
        let _ = outcome(unsafe { eqr_graph_destroy(self.handle) });
    }
}

// of native/graph.cpp
unsafe extern "C" {
    fn eqr_graph_begin(graph: *mut *mut c_void) -> *mut c_char;
    fn eqr_graph_end(graph: *mut c_void) -> *mut c_char;
    fn eqr_graph_launch(graph: *mut c_void) -> *mut c_char;
    fn eqr_graph_destroy(graph: *mut c_void) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tch::{Device, Kind, Tensor, no_grad};

    use super::DeviceGraph;
    use crate::test_device::test_device;

    /// The GPU of the tests; without one, that a test has nothing to record is said.
    fn gpu() -> Option<usize> {
        match test_device() {
            Device::Cuda(gpu) => Some(gpu),
            _ => {
                eprintln!("skipped: graphs need a GPU (make test-false-gpu)");
                None
            }
        }
    }

    /// In one test, because a GPU records one graph at a time, and nothing after one that was refused.
    #[test]
    fn recorded_work_runs_when_it_is_launched_and_what_waits_is_refused() {
        let Some(gpu) = gpu() else { return };
        recorded_work_runs_when_it_is_launched_and_as_often(gpu);
        work_that_waits_for_the_device_cannot_be_recorded(gpu);
    }

    fn recorded_work_runs_when_it_is_launched_and_as_often(gpu: usize) {
        no_grad(|| {
            let count = Tensor::zeros([3], (Kind::Float, Device::Cuda(gpu)));
            let work = || {
                let _ = count.shallow_clone().g_add_scalar_(1.0);
                &count * 2.0
            };
            let (graph, twice) = DeviceGraph::record(gpu, work).unwrap();
            assert_eq!(count.double_value(&[0]), 2.0, "the two runs before");
            for launched in 1..4 {
                graph.launch().unwrap();
                let expected = f64::from(2 + launched);
                assert_eq!([&count, &twice].map(|t| t.double_value(&[1])), [expected, 2.0 * expected]);
            }
        });
    }

    fn work_that_waits_for_the_device_cannot_be_recorded(gpu: usize) {
        let number = Tensor::ones([1], (Kind::Float, Device::Cuda(gpu)));
        // in a thread, because a failed recording leaves its stream current
        let refused = std::thread::spawn(move || {
            catch_unwind(AssertUnwindSafe(|| DeviceGraph::record(gpu, || number.double_value(&[0])).is_ok()))
        });
        let panic = refused.join().unwrap().unwrap_err();
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.contains("operation not permitted when stream is capturing"), "{text}");
    }
}
