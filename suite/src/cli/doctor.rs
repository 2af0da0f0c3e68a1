//! `eqr-bench doctor`: what this machine has, and what a run would use.

use std::ffi::CStr;

use anyhow::Result;
use clap::Args;
use eqr_models::{Collective, Solo};
use serde_json::{Value, json};
use tch::Device;

use crate::cluster::accelerator::Accelerator;
use crate::cluster::cores::{allowed_cores, online_cores};
use crate::cluster::device_kind::DeviceKind;
use crate::cluster::gpu_signs::GpuSigns;
use crate::cluster::host::cpu_model;
use crate::cluster::kernels;
use crate::cluster::precision::Precision;
use crate::console::print_text;

/// Options of `doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Prints the findings.
///
/// # Errors
/// Standard output that cannot be written.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let findings = findings();
    if args.json {
        return print_text(&format!("{findings:#}\n"));
    }
    let line = |(key, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key:12} {text}\n")
    };
    print_text(&findings.as_object().into_iter().flatten().map(line).collect::<String>())
}

fn findings() -> Value {
    let (cuda, accelerator) = match Accelerator::load() {
        Ok(found) if found.has_cuda => ("loaded".to_owned(), found),
        Ok(found) => ("the libtorch in use has none".to_owned(), found),
        Err(error) => (format!("does not load: {error}"), Accelerator::default()),
    };
    let device = DeviceKind::Auto.choose(accelerator, Solo.place_on_node(), &GpuSigns::of_this_machine());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "libtorch": std::env::var("EQR_LIBTORCH").unwrap_or_else(|_| "found by the loader".into()),
        "cuda": cuda,
        "gpus": accelerator.gpus,
        "device": match &device {
            Ok(device) => format!("{device:?}"),
            Err(refusal) => format!("none: {}", refusal.to_string().replace('\n', "; ")),
        },
        "kernels": kernels::description(*device.as_ref().unwrap_or(&Device::Cpu)),
        "mpi": mpi(),
        "hdf5": eqr_datasets::hdf5_version(),
        "blas": blas(),
        "cpu": cpu_model(),
        "cores": allowed_cores(),
        "affinity": if allowed_cores() < online_cores() {
            format!("{} of {} cores allowed: launch with --bind-to none", allowed_cores(), online_cores())
        } else {
            "all cores allowed".to_owned()
        },
        "precision": Precision::Auto.choose(device.unwrap_or(Device::Cpu)).to_string(),
        "untested": "more than one GPU (NCCL, or MPI on device memory): not run on the hardware at hand",
    })
}

/// A BLAS routine that libtorch calls by its standard name. Another library could define the same symbol and
/// replace libtorch's own routine.
const PRODUCT: &CStr = c"sgemm_";

/// The library that computes this process's matrix products.
fn blas() -> String {
    // SAFETY: looks up a NUL-terminated name; the result is not called.
    let routine = unsafe { libc::dlsym(libc::RTLD_DEFAULT, PRODUCT.as_ptr()) };
    // SAFETY: `Dl_info` consists of plain pointers, for which zeros are a valid value.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr accepts any address and writes only to `found`.
    if routine.is_null() || unsafe { libc::dladdr(routine, &raw mut found) } == 0 || found.dli_fname.is_null()
    {
        return "inside libtorch".to_owned();
    }
    // SAFETY: dladdr has set the name, which is NUL-terminated and valid as long as the library is loaded.
    unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy().into_owned()
}

/// First line of `mpirun --version`, if mpirun is on the path.
fn mpi() -> String {
    let output = std::process::Command::new("mpirun").arg("--version").output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("unknown").to_owned(),
        Err(_) => "no mpirun on the path: runs are single processes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::PRODUCT;

    /// With a system OpenBLAS in their place, libtorch's fp32 products ran at half speed (probes/build.rs).
    #[test]
    fn no_other_library_takes_the_place_of_libtorchs_matrix_products() {
        // libtorch must be loaded
        assert_eq!(tch::Tensor::from(1.0).double_value(&[]), 1.0);
        // SAFETY: looks up a library that is already loaded, by a NUL-terminated name.
        let libtorch =
            unsafe { libc::dlopen(c"libtorch_cpu.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        assert!(!libtorch.is_null(), "libtorch_cpu.so is loaded");
        // SAFETY: both calls look up a NUL-terminated name; the results are compared, not called.
        let [own, everybodys] =
            [libtorch, libc::RTLD_DEFAULT].map(|place| unsafe { libc::dlsym(place, PRODUCT.as_ptr()) });
        assert_eq!(own, everybodys);
    }
}
