//! Collectives among GPUs: NCCL, loaded at run time; its id is broadcast over MPI.
//!
//! UNTESTED with more than one GPU: none were available.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream};
use cudarc::nccl::{result, sys};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Root};
use tch::{Kind, Tensor};

/// torch's default stream: NCCL's work is queued after the work that computes its input and before the work
/// that reads its output.
const DEFAULT_STREAM: sys::cudaStream_t = std::ptr::null_mut();

/// A communicator of all ranks, each on its own GPU.
pub struct Nccl {
    comm: sys::ncclComm_t,
    ranks: usize,
    /// torch's default stream, as cudarc names it.
    computation: Arc<CudaStream>,
    /// Runs the started sums, concurrently with the computation.
    sums: Arc<CudaStream>,
    /// Kept alive: NCCL works on the device of the current context.
    _context: Arc<CudaContext>,
}

/// Whether this process finds NCCL.
pub fn is_available() -> bool {
    // SAFETY: the initialisers of the library only register functions.
    unsafe { sys::is_culib_present() }
}

/// Version of the loaded NCCL: 22703 is 2.27.3.
pub fn version() -> String {
    let number = result::get_nccl_version().unwrap_or_default();
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

impl Nccl {
    /// The communicator of the ranks of `world`, all of which must call this; `gpu` is the device of this
    /// rank.
    ///
    /// # Errors
    /// An error of CUDA or NCCL.
    pub fn join(world: &SimpleCommunicator, gpu: usize) -> Result<Self, String> {
        let context = CudaContext::new(gpu).map_err(|error| format!("CUDA device {gpu}: {error:?}"))?;
        let mut id = [0i8; 128];
        if world.rank() == 0 {
            let unique =
                result::get_uniqueid().map_err(|error| failure_message("ncclGetUniqueId", &error))?;
            id = unique.internal;
        }
        world.process_at_rank(0).broadcast_into(&mut id[..]);
        let mut comm = std::ptr::null_mut();
        let id = sys::ncclUniqueId { internal: id };
        // SAFETY: the call writes `comm` before it is read, and all ranks pass the same size and id.
        let joined = unsafe { result::comm_init_rank(&raw mut comm, world.size(), id, world.rank()) };
        joined.map_err(|error| failure_message("ncclCommInitRank", &error))?;
        let sums = context.new_stream().map_err(|error| format!("CUDA stream: {error:?}"))?;
        let computation = context.default_stream();
        Ok(Nccl { comm, ranks: world.size() as usize, computation, sums, _context: context })
    }

    /// Starts replacing `tensor` with its sum over the ranks. The sum runs after the work that was queued to
    /// compute the tensor.
    pub fn start_sum(&self, tensor: &Tensor) {
        run_after(&self.sums, &self.computation);
        self.sum_on(self.sums.cu_stream().cast(), tensor);
    }

    /// Makes work that is queued from now on wait for the started sums.
    pub fn finish_sums(&self) {
        run_after(&self.computation, &self.sums);
    }

    /// Replaces `tensor` with its sum over the ranks.
    pub fn all_reduce_sum(&self, tensor: &Tensor) {
        self.sum_on(DEFAULT_STREAM, tensor);
    }

    fn sum_on(&self, stream: sys::cudaStream_t, tensor: &Tensor) {
        let (data, sum) = (tensor.data_ptr(), sys::ncclRedOp_t::ncclSum);
        // SAFETY: a contiguous tensor on this rank's GPU; NCCL may sum in place.
        let done =
            unsafe { result::all_reduce(data, data, tensor.numel(), kind(tensor), sum, self.comm, stream) };
        expect_nccl("ncclAllReduce", &done);
    }

    /// Replaces `tensor` with the tensor of rank 0.
    pub fn broadcast(&self, tensor: &Tensor) {
        let data = tensor.data_ptr();
        // SAFETY: a contiguous tensor on this rank's GPU; NCCL may broadcast in place.
        let done = unsafe {
            result::broadcast(data, data, tensor.numel(), kind(tensor), 0, self.comm, DEFAULT_STREAM)
        };
        expect_nccl("ncclBroadcast", &done);
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
        // SAFETY: `all` has room for a tensor of `own`'s size from every rank.
        let done = unsafe {
            result::all_gather(
                own.data_ptr(),
                all.data_ptr(),
                own.numel(),
                kind(&own),
                self.comm,
                DEFAULT_STREAM,
            )
        };
        expect_nccl("ncclAllGather", &done);
        let unpadded = |(rank, &rows): (usize, &i64)| all.select(0, rank as i64).narrow(0, 0, rows);
        Tensor::cat(&rows.iter().enumerate().map(unpadded).collect::<Vec<_>>(), 0)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: only this value uses the communicator, and not after this.
        let _ = unsafe { result::comm_destroy(self.comm) };
    }
}

/// Makes work queued on `stream` from now on wait for the work already queued on `other`. A failure ends the
/// job, as in [`expect_nccl`].
fn run_after(stream: &CudaStream, other: &CudaStream) {
    if let Err(error) = other.record_event(None).and_then(|event| stream.wait(&event)) {
        panic!("CUDA event between streams: {error:?}");
    }
}

fn kind(tensor: &Tensor) -> sys::ncclDataType_t {
    match tensor.kind() {
        Kind::Float => sys::ncclDataType_t::ncclFloat32,
        Kind::Double => sys::ncclDataType_t::ncclFloat64,
        kind => panic!("collectives carry fp32 and f64, not {kind:?}"),
    }
}

fn failure_message(call: &str, error: &result::NcclError) -> String {
    format!("{call}: {:?}\nhint: NCCL_DEBUG=INFO says more", error.0)
}

/// Ends the job if NCCL failed: the panic hook aborts every rank.
fn expect_nccl(call: &str, done: &Result<result::NcclStatus, result::NcclError>) {
    if let Err(error) = done {
        panic!("{}", failure_message(call, error));
    }
}
