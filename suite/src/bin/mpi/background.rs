//! Sums over the ranks that overlap with the computation, on a thread with its own communicator.
//!
//! From the start of the first sum to the end of the last, no other thread calls MPI. So the library needs to
//! support only serialised calls (`MPI_THREAD_SERIALIZED`).

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use tch::Tensor;

use super::calls::Calls;

/// Time between two checks whether all ranks have started the sum. MPI itself would busy-wait on a core that
/// is needed for the computation.
const POLL_INTERVAL: Duration = Duration::from_micros(50);

/// The thread, and the sums that it was given.
pub struct BackgroundSums {
    queue: Option<Sender<Tensor>>,
    finished: Receiver<()>,
    /// Sums that were started since the last [`BackgroundSums::finish`].
    pending: Cell<usize>,
    thread: Option<JoinHandle<()>>,
}

/// The communicator of the thread.
struct ThreadCommunicator(SimpleCommunicator);

// SAFETY: a communicator's handle is not bound to a thread, only this thread uses it, and MPI was initialised
// for several threads (`Threading::Serialized`).
unsafe impl Send for ThreadCommunicator {}

/// Waits until all ranks of `comm` have called it, and looks whether they have once in every `interval`.
pub fn wait_asleep(comm: &SimpleCommunicator, interval: Duration) {
    let mut barrier = comm.immediate_barrier();
    while let Err(request) = barrier.test() {
        barrier = request;
        std::thread::sleep(interval);
    }
}

impl ThreadCommunicator {
    /// Replaces `tensor` with its sum over the ranks; `scratch` is at least as long.
    fn sum(&self, tensor: &Tensor, scratch: &Tensor) {
        wait_asleep(&self.0, POLL_INTERVAL);
        let summand = scratch.narrow(0, 0, tensor.numel() as i64);
        let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
        // not with torch, which would start its own worker threads for this thread
        // SAFETY: both are contiguous host tensors of at least `bytes` bytes, and they do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(
                tensor.data_ptr().cast::<u8>(),
                summand.data_ptr().cast::<u8>(),
                bytes,
            );
        }
        Calls::on(&self.0).sum(&summand, tensor);
    }
}

impl BackgroundSums {
    /// Starts the thread; every rank of `comm` must call this.
    pub fn start_thread(comm: &SimpleCommunicator) -> Self {
        let communicator = ThreadCommunicator(comm.duplicate());
        let (queue, tensors) = channel::<Tensor>();
        let (report, finished) = channel();
        let thread = std::thread::spawn(move || {
            let mut scratch: Option<Tensor> = None;
            for tensor in tensors {
                let fits =
                    |scratch: &Tensor| scratch.numel() >= tensor.numel() && scratch.kind() == tensor.kind();
                let scratch = match scratch.take().filter(fits) {
                    Some(large) => scratch.insert(large),
                    None => scratch.insert(tensor.empty_like()),
                };
                communicator.sum(&tensor, scratch);
                if report.send(()).is_err() {
                    return;
                }
            }
        });
        BackgroundSums { queue: Some(queue), finished, pending: Cell::new(0), thread: Some(thread) }
    }

    /// Starts replacing `tensor`, contiguous on the host, with its sum over the ranks.
    pub fn start_sum(&self, tensor: Tensor) {
        let queue = self.queue.as_ref().expect("open until this is dropped");
        queue.send(tensor).expect("the thread ends with the job");
        self.pending.set(self.pending.get() + 1);
    }

    /// Returns when all started sums are finished.
    pub fn finish(&self) {
        for _ in 0..self.pending.take() {
            self.finished.recv().expect("the thread ends with the job");
        }
    }
}

impl Drop for BackgroundSums {
    /// The thread frees its communicator before MPI is finalised.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
