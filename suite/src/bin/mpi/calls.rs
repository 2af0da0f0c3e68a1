//! MPI calls on the memory of tensors, on the host or, if MPI is CUDA-aware, on a GPU. A failing call ends
//! the job, which is MPI's default.

use std::ffi::c_void;

use mpi::collective::SystemOperation;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Equivalence;
use tch::{Kind, Tensor};

/// Sets `into` to the sum of the ranks' `from`. Both are contiguous, of one kind and length, and do not
/// overlap.
pub fn sum(comm: &SimpleCommunicator, from: &Tensor, into: &Tensor) {
    let operation = SystemOperation::sum();
    // SAFETY: both tensors hold `count` elements of the datatype and outlive the call.
    unsafe {
        ffi::MPI_Allreduce(
            from.data_ptr(),
            into.data_ptr(),
            count(from),
            datatype(from),
            operation.as_raw(),
            comm.as_raw(),
        );
    }
}

/// Sets `all` to the concatenated `own` of all ranks; rank r has `counts[r]` elements.
pub fn gather(comm: &SimpleCommunicator, own: &Tensor, all: &Tensor, counts: &[i32]) {
    let displacements: Vec<i32> =
        counts.iter().scan(0, |end, &count| Some(std::mem::replace(end, *end + count))).collect();
    // SAFETY: `all` has room for the sum of the counts, and the displacements follow from the counts.
    unsafe {
        ffi::MPI_Allgatherv(
            own.data_ptr(),
            count(own),
            datatype(own),
            all.data_ptr(),
            counts.as_ptr(),
            displacements.as_ptr(),
            datatype(all),
            comm.as_raw(),
        );
    }
}

/// Sets `tensor` to the tensor of rank 0.
pub fn broadcast(comm: &SimpleCommunicator, tensor: &Tensor) {
    let data: *mut c_void = tensor.data_ptr();
    // SAFETY: `tensor` is contiguous and has `count` elements on every rank.
    unsafe { ffi::MPI_Bcast(data, count(tensor), datatype(tensor), 0, comm.as_raw()) };
}

fn count(tensor: &Tensor) -> i32 {
    i32::try_from(tensor.numel()).expect("a tensor between ranks has fewer than 2^31 elements")
}

fn datatype(tensor: &Tensor) -> ffi::MPI_Datatype {
    match tensor.kind() {
        Kind::Float => f32::equivalent_datatype().as_raw(),
        Kind::Double => f64::equivalent_datatype().as_raw(),
        kind => panic!("collectives carry fp32 and f64, not {kind:?}"),
    }
}
