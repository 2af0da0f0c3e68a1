//! Sums over the ranks that run beside the computation: a thread with a communicator of its own.
//!
//! Between the first sum that is started and the end of the last, the other threads call nothing of MPI, so that a library suffices which
//! serialises its callers (`MPI_THREAD_SERIALIZED`).

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use tch::Tensor;

use super::calls;

/// Between two looks whether the other ranks have come as far. MPI itself waits by spinning, on a core that computes.
const LOOK: Duration = Duration::from_micros(50);

/// The thread, and what it has been given.
pub struct Background {
    work: Option<Sender<Tensor>>,
    done: Receiver<()>,
    started: Cell<usize>,
    thread: Option<JoinHandle<()>>,
}

/// A communicator on its way to the thread that alone will use it.
struct Own(SimpleCommunicator);

// SAFETY: a handle to a communicator belongs to no thread; MPI is told of more than one (`Threading::Serialized`).
unsafe impl Send for Own {}

impl Own {
    /// Replaces `tensor` by its sum over the ranks; `scratch` is at least as long.
    fn sum(&self, tensor: &Tensor, scratch: &Tensor) {
        let mut arrived = self.0.immediate_barrier();
        while let Err(request) = arrived.test() {
            arrived = request;
            std::thread::sleep(LOOK);
        }
        let summand = scratch.narrow(0, 0, tensor.numel() as i64);
        let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
        // by hand: torch would start threads of its own for this one
        // SAFETY: two contiguous host tensors of as many bytes, which share none.
        unsafe {
            std::ptr::copy_nonoverlapping(tensor.data_ptr().cast::<u8>(), summand.data_ptr().cast::<u8>(), bytes);
        }
        calls::sum(&self.0, &summand, tensor);
    }
}

impl Background {
    /// Starts the thread; every rank of `comm` must call this.
    pub fn start(comm: &SimpleCommunicator) -> Self {
        let own = Own(comm.duplicate());
        let (work, given) = channel::<Tensor>();
        let (tell, done) = channel();
        let thread = std::thread::spawn(move || {
            let mut scratch: Option<Tensor> = None;
            for tensor in given {
                let fits = |scratch: &Tensor| scratch.numel() >= tensor.numel() && scratch.kind() == tensor.kind();
                let scratch = match scratch.take().filter(fits) {
                    Some(long) => scratch.insert(long),
                    None => scratch.insert(tensor.empty_like()),
                };
                own.sum(&tensor, scratch);
                if tell.send(()).is_err() {
                    return;
                }
            }
        });
        Background { work: Some(work), done, started: Cell::new(0), thread: Some(thread) }
    }

    /// Begins to replace `tensor`, contiguous on the host, by its sum over the ranks.
    pub fn sum(&self, tensor: Tensor) {
        let work = self.work.as_ref().expect("there until this is dropped");
        work.send(tensor).expect("the thread ends with the job");
        self.started.set(self.started.get() + 1);
    }

    /// Returns when all sums that were begun are there.
    pub fn finish(&self) {
        for _ in 0..self.started.take() {
            self.done.recv().expect("the thread ends with the job");
        }
    }
}

impl Drop for Background {
    /// The thread gives its communicator back before MPI ends.
    fn drop(&mut self) {
        drop(self.work.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
