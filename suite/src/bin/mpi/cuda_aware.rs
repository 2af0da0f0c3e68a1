//! Whether MPI is CUDA-aware, that is, whether it can read and write GPU memory.
//!
//! UNTESTED on hardware: no GPU was available.

use std::ffi::c_int;

use tch::{Device, Tensor};

/// `EQR_CUDA_AWARE_MPI` if it is 0 or 1, otherwise the library's answer (`MPIX_Query_cuda_support` in Open
/// MPI and related libraries). The variable is for libraries without that function, and for those built with
/// support that the machine does not have.
pub fn is_cuda_aware() -> bool {
    match std::env::var("EQR_CUDA_AWARE_MPI").as_deref() {
        Ok("0") => false,
        Ok("1") => true,
        _ => library_supports_cuda(),
    }
}

/// The tensor itself if MPI can read it, otherwise a contiguous copy in memory that it can read.
pub fn readable_by_mpi(tensor: &Tensor) -> Tensor {
    match tensor.device() {
        Device::Cuda(gpu) if is_cuda_aware() => {
            let tensor = tensor.contiguous();
            // MPI does not wait for CUDA streams
            tch::Cuda::synchronize(gpu as i64);
            tensor
        }
        _ => tensor.to_device(Device::Cpu).contiguous(),
    }
}

fn library_supports_cuda() -> bool {
    // SAFETY: the name is NUL-terminated.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"MPIX_Query_cuda_support".as_ptr()) };
    if symbol.is_null() {
        return false;
    }
    // SAFETY: every MPI that has this symbol declares it as `int MPIX_Query_cuda_support(void)`.
    let query = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> c_int>(symbol) };
    query() == 1
}
