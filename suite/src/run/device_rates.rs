//! The devices that `--dry-run` knows, and their assumed rates.

use clap::ValueEnum;
use eqr_models::Compute;
use tch::Device;

use crate::cluster::accelerator::FIRST_GPU;
use crate::cluster::precision::Precision;
use crate::perf::gemm_ceiling;

/// A device whose hours and memory are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// NVIDIA A100, 40 GB.
    A100,
    /// NVIDIA H100 (SXM), 80 GB.
    H100,
    /// NVIDIA H200, 141 GB.
    H200,
    /// NVIDIA GH200, 96 GB.
    Gh200,
    /// This machine's CPU, whose matrix products are timed.
    Cpu,
}

/// Share of a GPU's peak that training steps are assumed to reach. Nothing was measured on a GPU.
const GPU_SHARE: f64 = 0.35;

/// Share of the CPU's measured matrix-product rate that the steps under results/reference/perf reached at
/// width 192, in bf16 and fp32.
const CPU_SHARE: [f64; 2] = [0.34, 0.58];

/// Rate and memory of a device.
pub(super) struct DeviceRate {
    pub(super) name: &'static str,
    /// FLOP/s that training is assumed to reach.
    pub(super) rate: f64,
    /// Bytes of memory; `None` for a CPU.
    pub(super) memory: Option<f64>,
    /// Where the rate comes from.
    pub(super) source: String,
}

impl DeviceName {
    /// The device's rate, from vendor data sheets: dense peaks, bf16 on tensor cores, fp32 without TF32.
    pub(super) fn rate(self, compute: Compute) -> DeviceRate {
        let (name, [bf16, fp32], gigabytes) = match self {
            DeviceName::A100 => ("A100", [312.0, 19.5], 40.0),
            DeviceName::H100 => ("H100", [989.0, 67.0], 80.0),
            DeviceName::H200 => ("H200", [989.0, 67.0], 141.0),
            DeviceName::Gh200 => ("GH200", [989.0, 67.0], 96.0),
            DeviceName::Cpu => return cpu(compute),
        };
        let peak = if compute == Compute::Bf16 { bf16 } else { fp32 };
        let source = format!(
            "{GPU_SHARE} of its peak of {peak} TFLOP/s, an assumption: nothing was measured on a GPU"
        );
        DeviceRate { name, rate: peak * 1e12 * GPU_SHARE, memory: Some(gigabytes * 1e9), source }
    }

    /// The number type of a run on this device.
    pub(super) fn compute(self, requested: Precision) -> Compute {
        match self {
            DeviceName::Cpu => requested.choose(Device::Cpu).compute,
            _ => requested.choose(FIRST_GPU).compute,
        }
    }
}

fn cpu(compute: Compute) -> DeviceRate {
    let ceiling = gemm_ceiling(compute.kind(), Device::Cpu);
    let share = CPU_SHARE[usize::from(compute != Compute::Bf16)];
    let source = format!("{share} of the {:.0} GFLOP/s that its products reach now", ceiling / 1e9);
    DeviceRate { name: "CPU", rate: ceiling * share, memory: None, source }
}
