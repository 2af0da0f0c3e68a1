//! The collective among GPUs: NCCL, loaded at run time, bootstrapped over MPI.
//!
//! UNTESTED with more than one GPU: none were at hand.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError};
use cudarc::nccl::{result, sys};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Root};
use tch::{Device, Kind, Tensor};

/// torch's default stream: NCCL's work is queued behind what computed its input and before what reads its output.
const DEFAULT_STREAM: sys::cudaStream_t = std::ptr::null_mut();

/// A communicator of all ranks, each on its own GPU.
pub struct Nccl {
    comm: sys::ncclComm_t,
    ranks: usize,
    /// torch's default stream, as cudarc names it.
    computation: Arc<CudaStream>,
    /// Sums that were started run here, beside the computation.
    beside: Arc<CudaStream>,
    /// NCCL works on the device of the current context.
    _context: Arc<CudaContext>,
}

/// Whether this process finds NCCL.
pub fn is_there() -> bool {
    // SAFETY: loads a library whose initialisers only register functions.
    unsafe { sys::is_culib_present() }
}

/// Version of the NCCL that is there: 22703 is 2.27.3.
pub fn version() -> String {
    let number = result::get_nccl_version().unwrap_or_default();
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

impl Nccl {
    /// Joins the ranks of `world`, all of which must call this; `gpu` is this rank's.
    ///
    /// # Errors
    /// What CUDA or NCCL says.
    pub fn join(world: &SimpleCommunicator, gpu: usize) -> Result<Self, String> {
        let context = CudaContext::new(gpu).map_err(|error| format!("CUDA device {gpu}: {error:?}"))?;
        let mut id = [0i8; 128];
        if world.rank() == 0 {
            let made = result::get_uniqueid().map_err(|error| refused("ncclGetUniqueId", &error))?;
            id = made.internal;
        }
        world.process_at_rank(0).broadcast_into(&mut id[..]);
        let mut comm = std::ptr::null_mut();
        let id = sys::ncclUniqueId { internal: id };
        // SAFETY: `comm` is written before it is read; the ranks agree on number and id.
        let joined = unsafe { result::comm_init_rank(&raw mut comm, world.size(), id, world.rank()) };
        joined.map_err(|error| refused("ncclCommInitRank", &error))?;
        let beside = context.new_stream().map_err(|error| format!("CUDA stream: {error:?}"))?;
        let computation = context.default_stream();
        Ok(Nccl { comm, ranks: world.size() as usize, computation, beside, _context: context })
    }

    /// Begins to replace `tensor` by its sum over the ranks, behind what has been queued to compute it.
    pub fn start_sum(&self, tensor: &Tensor) {
        ordered(after(&self.beside, &self.computation));
        self.sum_on(self.beside.cu_stream().cast(), tensor);
    }

    /// What is queued from now on sees the sums that were begun.
    pub fn finish_sums(&self) {
        ordered(after(&self.computation, &self.beside));
    }

    /// Replaces `tensor` by its sum over the ranks.
    pub fn all_reduce_sum(&self, tensor: &Tensor) {
        self.sum_on(DEFAULT_STREAM, tensor);
    }

    fn sum_on(&self, stream: sys::cudaStream_t, tensor: &Tensor) {
        let (data, sum) = (tensor.data_ptr(), sys::ncclRedOp_t::ncclSum);
        // SAFETY: a contiguous tensor of this rank's GPU; the sum may overwrite its summand.
        let done = unsafe { result::all_reduce(data, data, tensor.numel(), kind(tensor), sum, self.comm, stream) };
        finished("ncclAllReduce", &done);
    }

    /// Replaces `tensor` by rank 0's.
    pub fn broadcast(&self, tensor: &Tensor) {
        let data = tensor.data_ptr();
        // SAFETY: as above.
        let done = unsafe { result::broadcast(data, data, tensor.numel(), kind(tensor), 0, self.comm, DEFAULT_STREAM) };
        finished("ncclBroadcast", &done);
    }

    /// Concatenates the ranks' tensors along dim 0; `rows[r]` is the length of rank r's. NCCL gathers equal parts only: shorter ones
    /// are padded.
    pub fn all_gather(&self, tensor: &Tensor, rows: &[i64]) -> Tensor {
        let longest = rows.iter().copied().max().unwrap_or(0);
        let mut shape = tensor.size();
        shape[0] = longest;
        let own = tensor.new_zeros(shape.as_slice(), (tensor.kind(), tensor.device()));
        own.narrow(0, 0, tensor.size()[0]).copy_(tensor);
        shape.insert(0, self.ranks as i64);
        let all = own.new_empty(shape.as_slice(), (own.kind(), own.device()));
        // SAFETY: `all` has room for every rank's part of `own`'s size.
        let done = unsafe {
            result::all_gather(own.data_ptr(), all.data_ptr(), own.numel(), kind(&own), self.comm, DEFAULT_STREAM)
        };
        finished("ncclAllGather", &done);
        let part = |(rank, &rows): (usize, &i64)| all.select(0, rank as i64).narrow(0, 0, rows);
        Tensor::cat(&rows.iter().enumerate().map(part).collect::<Vec<_>>(), 0)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: the communicator is this value's own and not used again.
        let _ = unsafe { result::comm_destroy(self.comm) };
    }
}

/// What is queued on `stream` from now on runs after what has been queued on `other`.
fn after(stream: &CudaStream, other: &CudaStream) -> Result<(), DriverError> {
    stream.wait(&other.record_event(None)?)
}

/// As [`finished`], of CUDA.
fn ordered(done: Result<(), DriverError>) {
    if let Err(error) = done {
        panic!("CUDA event between streams: {error:?}");
    }
}

/// The GPU of `device`.
pub fn gpu(device: Device) -> Option<usize> {
    match device {
        Device::Cuda(gpu) => Some(gpu),
        _ => None,
    }
}

fn kind(tensor: &Tensor) -> sys::ncclDataType_t {
    match tensor.kind() {
        Kind::Float => sys::ncclDataType_t::ncclFloat32,
        Kind::Double => sys::ncclDataType_t::ncclFloat64,
        kind => panic!("collectives carry fp32 and f64, not {kind:?}"),
    }
}

fn refused(call: &str, error: &result::NcclError) -> String {
    format!("{call}: {:?}\nhint: NCCL_DEBUG=INFO says more", error.0)
}

/// A failing transport ends the job: the panic hook aborts every rank.
fn finished(call: &str, done: &Result<result::NcclStatus, result::NcclError>) {
    if let Err(error) = done {
        panic!("{}", refused(call, error));
    }
}
