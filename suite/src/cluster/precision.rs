//! The number type of a run: as requested, and as chosen for the device.

use std::fmt::{Display, Formatter, Result};

use eqr_models::{Collective, Compute};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::cluster::agreement::from_leader;
use crate::cluster::matrix_product::{Trial, matrix_product_rates};

/// The number type that a user requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU, and on a CPU that multiplies bf16 clearly faster than fp32 (timed); otherwise fp32.
    #[default]
    Auto,
    /// fp32, TF32 off.
    Fp32,
    /// bf16 compute, fp32 master weights, statistics and losses.
    Bf16,
}

/// A number type, and why it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The number type.
    pub compute: Compute,
    /// Why it was taken.
    pub reason: Reason,
}

/// Why a number type was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// The user asked for it.
    Requested,
    /// The run was started with it.
    Recorded,
    /// GPUs multiply bf16 faster.
    Gpu,
    /// The CPU has no instructions for bf16.
    NoInstructions,
    /// GFLOP/s of the CPU's products.
    Timed {
        /// In bf16.
        bf16: f64,
        /// In fp32.
        fp32: f64,
    },
}

/// Products of this size take half a second together, and their time is not that of their start.
const TRIAL: Trial = Trial { side: 1024, products: 6 };

/// How much faster products in bf16 must be. Steps gain less than their products do, and close times must not
/// decide by chance: on a busy machine, equal ones were seen to differ by 1.2.
const WORTHWHILE: f64 = 1.5;

impl Precision {
    /// The number type of the computations on `device`. `Auto` times products on a CPU with instructions for
    /// bf16: processors without AMX may multiply bf16 at half the speed of fp32.
    pub fn choose(self, device: Device) -> Choice {
        let (compute, reason) = match self {
            Precision::Fp32 => (Compute::F32, Reason::Requested),
            Precision::Bf16 => (Compute::Bf16, Reason::Requested),
            Precision::Auto if device != Device::Cpu => (Compute::Bf16, Reason::Gpu),
            Precision::Auto if !cpu_has_bf16() => (Compute::F32, Reason::NoInstructions),
            Precision::Auto => {
                let kinds = [Kind::BFloat16, Kind::Float];
                let [bf16, fp32] =
                    matrix_product_rates(kinds, device, TRIAL).map(|rate| (rate / 1e9).round());
                (faster(bf16, fp32), Reason::Timed { bf16, fp32 })
            }
        };
        Choice { compute, reason }
    }
}

impl Choice {
    /// The choice of rank 0, on every rank. Only rank 0 calls `choose`.
    pub fn of_leader(ranks: &dyn Collective, choose: impl FnOnce() -> Choice) -> Choice {
        let own = (ranks.rank() == 0).then(choose).map(|own| (own.compute == Compute::Bf16, own.reason));
        let (bf16, reason) = from_leader(ranks, &own).expect("rank 0 has chosen");
        Choice { compute: if bf16 { Compute::Bf16 } else { Compute::F32 }, reason }
    }
}

/// bf16 if its products are clearly faster.
fn faster(bf16: f64, fp32: f64) -> Compute {
    if bf16 > WORTHWHILE * fp32 { Compute::Bf16 } else { Compute::F32 }
}

/// Whether the CPU has instructions for products of bf16, which aarch64 calls by that name alone.
fn cpu_has_bf16() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    flags.split_whitespace().any(|flag| ["avx512_bf16", "amx_bf16", "bf16"].contains(&flag))
}

impl Display for Choice {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} ({})", self.compute.name(), self.reason)
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Reason::Requested => write!(f, "as requested"),
            Reason::Recorded => write!(f, "as the run was started"),
            Reason::Gpu => write!(f, "GPU"),
            Reason::NoInstructions => write!(f, "the CPU has no instructions for bf16"),
            Reason::Timed { bf16, fp32 } => {
                write!(f, "products in bf16 {bf16:.0} GFLOP/s, in fp32 {fp32:.0}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_must_be_clearly_faster() {
        assert_eq!(faster(886.0, 400.0), Compute::Bf16);
        assert_eq!(faster(160.0, 320.0), Compute::F32);
        assert_eq!(faster(440.0, 320.0), Compute::F32);
    }

    #[test]
    fn what_is_asked_for_is_not_timed() {
        let choice = Precision::Bf16.choose(Device::Cpu);
        assert_eq!((choice.compute, choice.reason), (Compute::Bf16, Reason::Requested));
        assert_eq!(Precision::Fp32.choose(Device::Cpu).to_string(), "fp32 (as requested)");
    }

    /// Products of this machine, if it has the instructions.
    #[test]
    fn auto_takes_the_faster_one() {
        let choice = Precision::Auto.choose(Device::Cpu);
        match choice.reason {
            Reason::Timed { bf16, fp32 } => {
                assert!(bf16 > 1.0 && fp32 > 1.0, "{choice}");
                assert_eq!(choice.compute, faster(bf16, fp32));
            }
            reason => assert_eq!((choice.compute, reason), (Compute::F32, Reason::NoInstructions)),
        }
    }
}
