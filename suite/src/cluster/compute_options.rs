//! What a rank computes with, as the command line says it.

use std::num::NonZeroUsize;

use clap::Args;

use crate::cluster::device_kind::DeviceKind;

/// The device and the threads of a rank.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ComputeOptions {
    /// Device to compute on; `auto` refuses to use the CPU where the system has a GPU.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceKind,
    /// Use only deterministic algorithms on a GPU, so that a run there repeats bit for bit, as it does on
    /// CPUs; what has none is an error.
    #[arg(long)]
    pub deterministic: bool,
    /// Threads per rank; default: allowed cores / ranks on the node.
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
}

impl ComputeOptions {
    /// These threads of the CPU, for stages that use no other device.
    pub fn on_cpu(threads: Option<NonZeroUsize>) -> Self {
        ComputeOptions { device: DeviceKind::Cpu, deterministic: false, threads }
    }
}
