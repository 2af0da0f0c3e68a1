//! `eqr-bench doctor`: what this machine has, and what a run would use.

use anyhow::Result;
use serde_json::{Value, json};
use tch::Device;

use crate::cluster::{Precision, allowed_cores, cpu_has_bf16, load_cuda, online_cores};
use crate::manifest::cpu_model;

/// Prints the findings.
///
/// # Errors
/// None that a user can cause; JSON is always writable.
pub fn print(as_json: bool) -> Result<()> {
    let findings = findings();
    if as_json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(());
    }
    for (key, value) in findings.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{key:12} {text}");
    }
    Ok(())
}

fn findings() -> Value {
    let cuda = match load_cuda() {
        Ok(true) => "loaded".to_owned(),
        Ok(false) => "the libtorch in use has none".to_owned(),
        Err(error) => format!("does not load: {error}"),
    };
    let gpus = tch::Cuda::device_count();
    let device = if gpus > 0 { Device::Cuda(0) } else { Device::Cpu };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "libtorch": std::env::var("EQR_LIBTORCH").unwrap_or_else(|_| "found by the loader".into()),
        "cuda": cuda,
        "gpus": gpus,
        "mpi": mpi(),
        "hdf5": eqr_datasets::hdf5_version(),
        "cpu": cpu_model(),
        "cores": allowed_cores(),
        "affinity": if allowed_cores() < online_cores() {
            format!("{} of {} cores allowed: launch with --bind-to none", allowed_cores(), online_cores())
        } else {
            "all cores allowed".to_owned()
        },
        "precision": format!("{:?} ({})", Precision::Auto.resolve(device), reason(device)),
        "untested": "more than one GPU (NCCL, or MPI on device memory): not run on the hardware at hand",
    })
}

fn reason(device: Device) -> &'static str {
    if device != Device::Cpu {
        "GPU"
    } else if cpu_has_bf16() {
        "the CPU multiplies bf16 in hardware"
    } else {
        "the CPU has no AVX512-BF16 or AMX"
    }
}

/// First line of `mpirun --version`, if there is one on the path.
fn mpi() -> String {
    let output = std::process::Command::new("mpirun").arg("--version").output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("unknown").to_owned(),
        Err(_) => "no mpirun on the path: runs are single processes".to_owned(),
    }
}
