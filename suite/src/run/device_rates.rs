//! The devices that `--dry-run` knows, and their assumed rates.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use eqr_models::methods::Ssl;
use eqr_models::{Compute, MethodKind};
use tch::Device;

use crate::cluster::accelerator::FIRST_GPU;
use crate::cluster::precision::Precision;
use crate::encoder::network::model_config_for;
use crate::perf::TrainingSetup;
use crate::run::data_set_size::DataSetSize;
use crate::suite_file::suite::Suite;

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
    /// This machine's CPU, on which the suite's training step is timed.
    Cpu,
}

/// Share of a GPU's peak that training steps are assumed to reach. Nothing was measured on a GPU.
const GPU_SHARE: f64 = 0.35;

/// How long training steps are timed on the CPU.
const TIMED: Duration = Duration::from_secs(2);

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
    /// The device's rate: a GPU's from vendor data sheets (dense peaks, bf16 on tensor cores, fp32 without
    /// TF32), the CPU's by training steps of this suite's first method on data of this size.
    ///
    /// # Errors
    /// A network that cannot be built.
    pub(super) fn rate(self, compute: Compute, suite: &Suite, size: &DataSetSize) -> Result<DeviceRate> {
        let (name, [bf16, fp32], gigabytes) = match self {
            DeviceName::A100 => ("A100", [312.0, 19.5], 40.0),
            DeviceName::H100 => ("H100", [989.0, 67.0], 80.0),
            DeviceName::H200 => ("H200", [989.0, 67.0], 141.0),
            DeviceName::Gh200 => ("GH200", [989.0, 67.0], 96.0),
            DeviceName::Cpu => return cpu(compute, suite, size),
        };
        let peak = if compute == Compute::Bf16 { bf16 } else { fp32 };
        let source = format!(
            "{GPU_SHARE} of its peak of {peak} TFLOP/s, an assumption: nothing was measured on a GPU"
        );
        Ok(DeviceRate { name, rate: peak * 1e12 * GPU_SHARE, memory: Some(gigabytes * 1e9), source })
    }

    /// The number type of a run on this device.
    pub(super) fn compute(self, requested: Precision) -> Compute {
        match self {
            DeviceName::Cpu => requested.choose(Device::Cpu).compute,
            _ => requested.choose(FIRST_GPU).compute,
        }
    }
}

fn cpu(compute: Compute, suite: &Suite, size: &DataSetSize) -> Result<DeviceRate> {
    let trained = suite.method_kinds()?.into_iter().find(MethodKind::trains);
    // in a suite without a training, VICReg's steps stand for the encoder's passes
    let method = trained.unwrap_or(MethodKind::Ssl(Ssl::default()));
    let config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    let batch = i64::try_from(suite.train.batch)?;
    let mut step = TrainingSetup::of_network(method.clone(), config, batch, compute, Device::Cpu)?;
    let rate = step.rate(TIMED);
    let source = format!("{:.0} GFLOP/s, which training steps of {method} reach here now", rate / 1e9);
    Ok(DeviceRate { name: "CPU", rate, memory: None, source })
}
