//! Floating-point types used in training.

use tch::Kind;

/// Floating-point types of the forward and backward passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// fp32 throughout.
    F32,
    /// bf16 for the per-sample passes; fp32 master weights, losses and statistics.
    Bf16,
    /// f64 throughout, for exactness tests.
    F64,
}

impl Compute {
    /// Floating-point type of master weights, gradients, losses and statistics.
    pub fn master_kind(self) -> Kind {
        if self == Compute::F64 { Kind::Double } else { Kind::Float }
    }

    /// Floating-point type of the per-sample passes.
    pub fn kind(self) -> Kind {
        if self == Compute::Bf16 { Kind::BFloat16 } else { self.master_kind() }
    }

    /// The name used in manifests, checkpoints and reports.
    pub fn name(self) -> &'static str {
        match self {
            Compute::F32 => "fp32",
            Compute::Bf16 => "bf16",
            Compute::F64 => "f64",
        }
    }
}
