//! The GPUs of this process: loads the CUDA half of libtorch, chooses a rank's device, and queries the GPUs.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};
use eqr_models::collective::NodePlace;
use serde_json::{Value, json};
use tch::Device;

use crate::cluster::host::host;

/// The first GPU that this process sees.
pub const FIRST_GPU: Device = Device::Cuda(0);

/// What the libtorch of this process can compute on besides the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accelerator {
    /// Whether libtorch has a CUDA half.
    pub has_cuda: bool,
    /// Number of GPUs that this process sees.
    pub gpus: usize,
}

impl Accelerator {
    /// Loads the CUDA half of libtorch, if the libtorch in use has one, and counts the GPUs. The engine is
    /// linked without it, so one build serves machines with and without GPUs. libtorch must not be asked
    /// about CUDA before this.
    ///
    /// # Errors
    /// The loader's message, if the library exists but does not load.
    pub fn load() -> Result<Self, String> {
        let has_cuda = load_cuda()?;
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        Ok(Accelerator { has_cuda, gpus })
    }

    /// The device of a rank: a GPU of its own, or the CPU if there are no GPUs.
    ///
    /// # Errors
    /// More ranks than GPUs.
    fn device(self, NodePlace { rank, ranks, .. }: NodePlace) -> Result<Device> {
        match self.gpus {
            0 => Ok(Device::Cpu),
            gpus if ranks > gpus => Err(anyhow!(
                "{ranks} ranks on {} and {gpus} GPU(s): two ranks do not share one\n\
                 hint: one rank per GPU (`mpirun --map-by ppr:{gpus}:node`, \
                 `srun --ntasks-per-node={gpus}`), or `--device cpu`",
                host()
            )),
            _ => Ok(Device::Cuda(rank)),
        }
    }

    /// The device of a rank by its `place` on the node: the GPU whose number is the local rank, or the only
    /// GPU that the launcher left visible.
    ///
    /// # Errors
    /// More ranks than GPUs.
    pub fn own_device(self, place: NodePlace) -> Result<Device> {
        // a launcher may show each rank only its own GPU
        let own_gpu = self.gpus == 1 && std::env::var_os("CUDA_VISIBLE_DEVICES").is_some();
        if own_gpu { Ok(FIRST_GPU) } else { self.device(place) }
    }

    /// Version of the CUDA runtime, if there is one.
    pub fn cuda_version(self) -> Option<i64> {
        self.has_cuda.then(tch::utils::version_cudart)
    }

    /// Version of cuDNN, if there is one.
    pub fn cudnn_version(self) -> Option<i64> {
        self.has_cuda.then(tch::utils::version_cudnn)
    }
}

/// Whether libtorch's CUDA half was found and loaded.
fn load_cuda() -> Result<bool, String> {
    let Some(root) = std::env::var_os("EQR_LIBTORCH") else { return Ok(false) };
    let library = Path::new(&root).join("lib/libtorch_cuda.so");
    if !library.exists() {
        return Ok(false);
    }
    let name = CString::new(library.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: `name` is a NUL-terminated path; libtorch_cuda's initialisers only register kernels with the
    // loaded libtorch.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlerror returns a NUL-terminated message of the failed dlopen of this thread.
        let text = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(text.to_string_lossy().into_owned());
    }
    Ok(true)
}

/// Model, driver, clocks (MHz) and memory of this node's GPUs, as `nvidia-smi` prints them; null if `device`
/// is a CPU.
pub fn gpu_details(device: Device) -> Value {
    if !device.is_cuda() {
        return Value::Null;
    }
    let keys =
        ["name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "memory.total"];
    let query = format!("--query-gpu={}", keys.join(","));
    let output = Command::new("nvidia-smi").args([&query, "--format=csv,noheader"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let gpu = |line: &str| -> Value {
        keys.iter()
            .zip(line.split(", "))
            .map(|(key, value)| ((*key).to_owned(), json!(value.trim())))
            .collect()
    };
    text.lines().map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use eqr_models::collective::NodePlace;
    use tch::Device;

    use super::Accelerator;

    #[test]
    fn every_local_rank_has_a_gpu_of_its_own_or_is_refused() {
        let device = |gpus, rank, ranks| {
            Accelerator { has_cuda: gpus > 0, gpus }.device(NodePlace { rank, ranks, ..NodePlace::ALONE })
        };
        assert_eq!(device(0, 3, 4).unwrap(), Device::Cpu);
        assert_eq!(device(4, 3, 4).unwrap(), Device::Cuda(3));
        let text = device(2, 0, 3).unwrap_err().to_string();
        assert!(text.starts_with("3 ranks on ") && text.contains(" and 2 GPU(s): "), "{text}");
        assert!(text.contains("\nhint: one rank per GPU (`mpirun --map-by ppr:2:node`, "), "{text}");
    }
}
