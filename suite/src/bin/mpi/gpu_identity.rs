//! Whether two ranks compute on one GPU, which would be slow and which NCCL refuses.
//!
//! The numbers of GPUs do not tell: a launcher may show each rank only its own, as number 0.

use std::ffi::{CStr, c_int};

use eqr_device::shared_library::SharedLibrary;
use serde::{Deserialize, Serialize};

/// Libraries that may have CUDA's driver functions, once libtorch's CUDA half has found a GPU.
const DRIVERS: [&CStr; 2] = [c"libcuda.so.1", c"libtorch_cuda.so"];

/// The GPU of a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuIdentity {
    /// Name of the machine.
    pub host: String,
    /// The driver's identity of the GPU, or of the part of one (MIG); `None` if the driver does not say it.
    pub uuid: Option<[u8; 16]>,
}

impl GpuIdentity {
    /// The identity of a GPU of this process.
    pub fn of(host: String, gpu: usize) -> Self {
        GpuIdentity { host, uuid: DRIVERS.into_iter().find_map(|library| uuid(library, gpu)) }
    }
}

/// The message for two ranks on one GPU, if there are any.
pub fn shared_gpu(of_ranks: &[GpuIdentity]) -> Option<String> {
    let same = |(rank, own): (usize, &GpuIdentity)| {
        let other = of_ranks[..rank].iter().position(|other| other == own && own.uuid.is_some())?;
        Some(format!(
            "ranks {other} and {rank} on {} have the same GPU\n\
             hint: start one rank per GPU, and show each rank all GPUs of its node or one of its own \
             (CUDA_VISIBLE_DEVICES)",
            own.host
        ))
    };
    of_ranks.iter().enumerate().find_map(same)
}

type Init = unsafe extern "C" fn(u32) -> c_int;
type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type GetUuid = unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int;

/// What the driver in a loaded library says.
fn uuid(library: &CStr, gpu: usize) -> Option<[u8; 16]> {
    let library = SharedLibrary::loaded(library).ok()?;
    // SAFETY: cuda.h declares the functions with these types.
    let (init, get_device, get_uuid): (Init, GetDevice, GetUuid) = unsafe {
        (
            library.function(c"cuInit").ok()?,
            library.function(c"cuDeviceGet").ok()?,
            library.function(c"cuDeviceGetUuid_v2").ok()?,
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

#[cfg(test)]
mod tests {
    use super::{GpuIdentity, shared_gpu};

    #[test]
    fn only_one_gpu_of_one_machine_is_shared() {
        let own = |host: &str, id: u8| GpuIdentity { host: host.to_owned(), uuid: Some([id; 16]) };
        let unknown = GpuIdentity { host: "a".to_owned(), uuid: None };
        assert_eq!(shared_gpu(&[own("a", 0), own("a", 1), own("b", 0)]), None);
        assert_eq!(shared_gpu(&[unknown.clone(), unknown]), None);
        let text = shared_gpu(&[own("b", 0), own("a", 0), own("a", 1), own("a", 0)]).unwrap();
        assert!(text.starts_with("ranks 1 and 3 on a have the same GPU\nhint: "), "{text}");
    }
}
