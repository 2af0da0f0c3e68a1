//! Whether MPI reads and writes the memory of GPUs itself.
//!
//! UNTESTED on hardware: no GPU was at hand.

use std::ffi::c_int;

/// What the library says (`MPIX_Query_cuda_support`, of Open MPI and its kin), or what `EQR_CUDA_AWARE_MPI` says where it is 0 or 1: a library may
/// be built with what the machine then lacks, or not know the question.
pub fn is_there() -> bool {
    match std::env::var("EQR_CUDA_AWARE_MPI").as_deref() {
        Ok("0") => false,
        Ok("1") => true,
        _ => library_says_so(),
    }
}

fn library_says_so() -> bool {
    // SAFETY: the name is NUL-terminated; MPI is linked, so its symbols are in the process.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"MPIX_Query_cuda_support".as_ptr()) };
    if symbol.is_null() {
        return false;
    }
    // SAFETY: `int MPIX_Query_cuda_support(void)` wherever there is one.
    let query = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> c_int>(symbol) };
    query() == 1
}
