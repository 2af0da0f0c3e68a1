//! The driver's identity of a GPU. Its number does not tell: a launcher may show each rank only its own GPU,
//! as number 0.

use std::ffi::{CStr, c_int};

use eqr_device::shared_library::SharedLibrary;

/// Libraries that may have CUDA's driver functions, once libtorch's CUDA half has found a GPU.
const DRIVERS: [&CStr; 2] = [c"libcuda.so.1", c"libtorch_cuda.so"];

type Init = unsafe extern "C" fn(u32) -> c_int;
type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type GetUuid = unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int;

/// The identity of a GPU of this process, or of the part of one (MIG); `None` if the driver does not say it.
pub fn gpu_uuid(gpu: usize) -> Option<[u8; 16]> {
    DRIVERS.into_iter().find_map(|driver| uuid(SharedLibrary::loaded(driver).ok()?, gpu))
}

/// What the driver says.
fn uuid(driver: SharedLibrary, gpu: usize) -> Option<[u8; 16]> {
    // SAFETY: cuda.h declares the functions with these types.
    let (init, get_device, get_uuid) = unsafe {
        (
            driver.function::<Init>(c"cuInit").ok()?,
            driver.function::<GetDevice>(c"cuDeviceGet").ok()?,
            driver.function::<GetUuid>(c"cuDeviceGetUuid_v2").ok()?,
        )
    };
    let (mut device, mut uuid) = (0, [0; 16]);
    // SAFETY: the pointers outlive the calls, which write through them.
    let failed = unsafe {
        init(0) != 0
            || get_device(&raw mut device, c_int::try_from(gpu).ok()?) != 0
            || get_uuid(&raw mut uuid, device) != 0
    };
    (!failed).then_some(uuid)
}
