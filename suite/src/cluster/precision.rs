//! The number type of a run: as requested, and as resolved for the device.

use eqr_models::Compute;
use serde::{Deserialize, Serialize};
use tch::Device;

/// The number type that a user requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU and on a CPU with AVX512-BF16 or AMX, otherwise fp32.
    #[default]
    Auto,
    /// fp32, TF32 off.
    Fp32,
    /// bf16 compute, fp32 master weights, statistics and losses.
    Bf16,
}

impl Precision {
    /// The number type of the computations on `device`.
    pub fn resolve(self, device: Device) -> Compute {
        match self {
            Precision::Fp32 => Compute::F32,
            Precision::Bf16 => Compute::Bf16,
            Precision::Auto if device != Device::Cpu || cpu_has_bf16() => Compute::Bf16,
            Precision::Auto => Compute::F32,
        }
    }
}

/// Whether the CPU multiplies bf16 in hardware.
pub fn cpu_has_bf16() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "avx512_bf16" || flag == "amx_bf16")
}
