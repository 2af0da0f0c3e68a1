//! GPUs: loading the CUDA half of libtorch, and the device of a rank.

use std::ffi::CString;
use std::path::Path;

use anyhow::anyhow;
use tch::Device;

/// A launcher's number for this process among those of the node, and how many there are.
pub fn local_rank() -> (usize, usize) {
    let read = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    let rank = read(&["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]).unwrap_or(0);
    let size = read(&["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"]).unwrap_or(1);
    (rank, size.max(1))
}

/// Loads the CUDA half of libtorch where the libtorch in use has one; then `tch::Cuda` sees the GPUs. The engine is linked
/// without it so that one build serves both kinds of machine.
///
/// # Errors
/// The loader's message where the library is there and does not load.
pub fn load_cuda() -> Result<bool, String> {
    let Some(root) = std::env::var_os("EQR_LIBTORCH") else { return Ok(false) };
    let library = Path::new(&root).join("lib/libtorch_cuda.so");
    if !library.exists() {
        return Ok(false);
    }
    let name = CString::new(library.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: `name` is a NUL-terminated path; libtorch_cuda's initialisers only register kernels with the loaded libtorch.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlerror returns a NUL-terminated message of the failed dlopen of this thread.
        let text = unsafe { std::ffi::CStr::from_ptr(libc::dlerror()) };
        return Err(text.to_string_lossy().into_owned());
    }
    Ok(true)
}

/// The device of rank `local` of `local_size` on a node with `gpus` GPUs.
pub(crate) fn device(gpus: usize, local: usize, local_size: usize) -> anyhow::Result<Device> {
    // a launcher may say the rank and not how many there are
    let local_size = local_size.max(local + 1);
    match gpus {
        0 => Ok(Device::Cpu),
        _ if local_size > gpus => {
            Err(anyhow!("{local_size} ranks on this node, {gpus} GPU(s)\nhint: start one rank a GPU"))
        }
        _ => Ok(Device::Cuda(local)),
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::device;

    #[test]
    fn every_local_rank_has_a_gpu_of_its_own_or_is_refused() {
        assert_eq!(device(0, 3, 4).unwrap(), Device::Cpu);
        assert_eq!(device(4, 3, 4).unwrap(), Device::Cuda(3));
        for (gpus, local, local_size) in [(2, 0, 3), (2, 2, 1)] {
            let text = device(gpus, local, local_size).unwrap_err().to_string();
            assert!(text.contains("3 ranks on this node, 2 GPU(s)") && text.contains("hint:"), "{text}");
        }
    }
}
