//! Collectives among GPUs by NCCL.
//!
//! UNTESTED with more than one GPU: none were available. Tests run it on false GPUs with a false NCCL.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use eqr_bench::cluster::device_calls::{self, DeviceCalls, Progress};
use eqr_bench::cluster::watchdog::waiting;
use eqr_device::error::DeviceError;
use eqr_device::stream::{Event, Stream, use_gpu};
use tch::{Kind, Tensor};

use crate::nccl_library::{Comm, DataType, IN_PROGRESS, NcclLibrary, SUCCESS, SUM, Status};

/// A process in a communicator.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub rank: c_int,
    pub ranks: c_int,
    pub gpu: usize,
}

/// A communicator of ranks that are each on a GPU of their own.
pub struct Nccl {
    ranks: usize,
    /// Runs the started sums, concurrently with the computation.
    sums: Stream,
    link: Arc<Link>,
}

/// What the watchdog's thread also sees of a communicator.
struct Link {
    library: &'static NcclLibrary,
    rank: c_int,
    gpu: usize,
    /// `None` once it is destroyed or aborted.
    comm: Mutex<Option<OpenComm>>,
    /// The end of the last call.
    last: Event,
    /// Number of calls.
    queued: AtomicU64,
}

/// A communicator of NCCL.
#[derive(Clone, Copy)]
pub struct OpenComm(pub Comm);

// SAFETY: NCCL's communicators are not bound to a thread; a mutex lets one thread at a time use this one.
unsafe impl Send for OpenComm {}

impl Nccl {
    /// Takes over the communicator in which this process is rank `rank` of `ranks`, on the GPU `gpu`.
    ///
    /// # Errors
    /// An error of CUDA.
    pub fn new(
        library: &'static NcclLibrary,
        comm: OpenComm,
        Member { rank, ranks, gpu }: Member,
    ) -> Result<Self, String> {
        let stream = || Ok((Stream::new(gpu)?, Event::record(Stream::current(gpu)?)?));
        let (sums, last) = stream().map_err(|error: DeviceError| format!("GPU {gpu}: {error}"))?;
        let (comm, queued) = (Mutex::new(Some(comm)), AtomicU64::new(0));
        let link = Arc::new(Link { library, rank, gpu, comm, last, queued });
        device_calls::watch(&link);
        Ok(Nccl { ranks: ranks as usize, sums, link })
    }

    /// Ends a communicator that not all ranks have: to destroy it would wait for them.
    pub fn abort(self) {
        self.link.abort();
    }

    /// Version of NCCL, as `2.27.3`.
    pub fn version(&self) -> String {
        self.link.library.version()
    }

    /// Starts replacing `tensor` with its sum over the ranks. The sum runs after the work that was queued to
    /// compute the tensor.
    pub fn start_sum(&self, tensor: &Tensor) {
        run_after(self.sums, self.computation());
        self.sum_on(self.sums, tensor);
        expect_device(self.sums.keep(tensor));
    }

    /// Makes work that is queued from now on wait for the started sums.
    pub fn finish_sums(&self) {
        run_after(self.computation(), self.sums);
    }

    /// Replaces `tensor` with its sum over the ranks.
    pub fn all_reduce_sum(&self, tensor: &Tensor) {
        self.sum_on(self.computation(), tensor);
    }

    fn sum_on(&self, stream: Stream, tensor: &Tensor) {
        let (data, count, kind) = buffer(tensor);
        self.link.call("ncclAllReduce", stream, |library, comm, stream| {
            // SAFETY: a contiguous tensor on this rank's GPU; NCCL may sum in place.
            unsafe { (library.all_reduce)(data, data, count, kind, SUM, comm, stream) }
        });
    }

    /// Replaces `tensor` with the tensor of rank 0.
    pub fn broadcast(&self, tensor: &Tensor) {
        let (data, count, kind) = buffer(tensor);
        self.link.call("ncclBroadcast", self.computation(), |library, comm, stream| {
            // SAFETY: a contiguous tensor on this rank's GPU; NCCL may broadcast in place.
            unsafe { (library.broadcast)(data, data, count, kind, 0, comm, stream) }
        });
    }

    /// Concatenates the ranks' tensors along dim 0; `rows[r]` is the length of rank r's. NCCL gathers tensors
    /// of equal size, so shorter ones are padded.
    pub fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let longest = rows.iter().copied().max().unwrap_or(0);
        let mut shape = tensor.size();
        shape[0] = longest;
        let own = tensor.new_zeros(shape.as_slice(), (tensor.kind(), tensor.device()));
        own.narrow(0, 0, tensor.size()[0]).copy_(tensor);
        shape.insert(0, self.ranks as i64);
        let all = own.new_empty(shape.as_slice(), (own.kind(), own.device()));
        let (data, count, kind) = buffer(&own);
        let target = all.data_ptr();
        self.link.call("ncclAllGather", self.computation(), |library, comm, stream| {
            // SAFETY: `all` has room for a tensor of `own`'s size from every rank.
            unsafe { (library.all_gather)(data, target, count, kind, comm, stream) }
        });
        let unpadded = |(rank, &rows): (usize, &i64)| all.select(0, rank as i64).narrow(0, 0, rows);
        Tensor::cat(&rows.iter().enumerate().map(unpadded).collect::<Vec<_>>(), 0)
    }

    /// The stream of this thread's operations: a call is queued there after the work that computes its input,
    /// and before the work that reads its output.
    fn computation(&self) -> Stream {
        expect_device(Stream::current(self.link.gpu))
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if let Some(OpenComm(comm)) = self.link.open_comm().take() {
            // SAFETY: nobody else has the communicator any more.
            let _ = unsafe { (self.link.library.comm_destroy)(comm) };
        }
    }
}

impl Link {
    fn open_comm(&self) -> MutexGuard<'_, Option<OpenComm>> {
        self.comm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call on a stream. A failure ends the job: the panic hook aborts every rank.
    fn call(&self, name: &str, stream: Stream, call: impl FnOnce(&NcclLibrary, Comm, *mut c_void) -> Status) {
        let handle = expect_device(stream.native_handle());
        let comm = self.open_comm();
        let Some(OpenComm(open)) = *comm else {
            drop(comm);
            wait_for_the_end();
        };
        // the first calls connect the ranks, for which NCCL waits
        let status = waiting(|| call(self.library, open, handle));
        drop(comm);
        if let Err(text) = self.library.check(name, status) {
            panic!("{text}\nhint: NCCL_DEBUG=INFO says more");
        }
        expect_device(self.last.move_to(stream));
        self.queued.fetch_add(1, Ordering::AcqRel);
    }

    /// What NCCL says of calls that were queued. A communicator that this rank is using is not asked: that
    /// could wait.
    fn check_queued(&self) -> Result<(), String> {
        let comm = match self.comm.try_lock() {
            Ok(comm) => comm,
            Err(TryLockError::Poisoned(comm)) => comm.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let Some(OpenComm(open)) = *comm else { return Ok(()) };
        let mut failure = SUCCESS;
        // SAFETY: the communicator is open; `failure` outlives the call, which writes it.
        let asked = unsafe { (self.library.comm_get_async_error)(open, &raw mut failure) };
        self.library.check("ncclCommGetAsyncError", asked)?;
        let failure = if failure == IN_PROGRESS { SUCCESS } else { failure };
        let outcome = self.library.check(&format!("NCCL of rank {}", self.rank), failure);
        outcome.map_err(|text| format!("{text} (NCCL_DEBUG=INFO says more)"))
    }
}

impl DeviceCalls for Link {
    fn progress(&self) -> Result<Progress, String> {
        self.check_queued()?;
        // counted first: a call that is queued in between is another one at the next look
        let queued = self.queued.load(Ordering::Acquire);
        // a thread starts on the first GPU of the node, where it would take memory
        let done = use_gpu(self.gpu).and_then(|()| self.last.has_passed());
        let done = done.map_err(|error| format!("the GPU of rank {}: {error}", self.rank))?;
        Ok(Progress { queued, done })
    }

    fn abort(&self) {
        // a call that does not return holds the communicator; it ends with the process
        let Ok(mut comm) = self.comm.try_lock() else { return };
        if let Some(OpenComm(open)) = comm.take() {
            // SAFETY: the communicator is open, and nobody has it any more.
            let _ = unsafe { (self.library.comm_abort)(open) };
        }
    }
}

/// For a thread whose communicator was aborted, while another thread ends the job.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

/// Makes work queued on `stream` from now on wait for the work already queued on `other`.
fn run_after(stream: Stream, other: Stream) {
    expect_device(Event::record(other).and_then(|event| stream.wait_for(&event)));
}

/// Address, number of elements and their type.
fn buffer(tensor: &Tensor) -> (*mut c_void, usize, DataType) {
    assert!(tensor.is_contiguous(), "a collective takes contiguous tensors");
    let kind = match tensor.kind() {
        Kind::Float => DataType::Float32,
        Kind::Double => DataType::Float64,
        kind => panic!("collectives carry fp32 and f64, not {kind:?}"),
    };
    (tensor.data_ptr(), tensor.numel(), kind)
}

/// A failure of CUDA ends the job: the panic hook aborts every rank.
fn expect_device<T>(result: Result<T, DeviceError>) -> T {
    result.unwrap_or_else(|error| panic!("streams of the GPU: {error}"))
}
