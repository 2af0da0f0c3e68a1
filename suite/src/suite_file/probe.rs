//! `[probe]`: evaluation of a frozen encoder.

use std::fmt;

use eqr_datasets::transforms::Shift;
use eqr_probes::linear_classification::ClassifyConfig;
use eqr_probes::mlp::ProbeConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Evaluation of a frozen encoder (protocol section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Probe seeds 0 .. seeds; 0: encoders are not probed, only used for transfer and segmentation.
    pub seeds: u64,
    /// Training pairs.
    pub train_pairs: usize,
    /// Test pairs.
    pub test_pairs: usize,
    /// The regression probe.
    pub regression: ProbeConfig,
    /// The classification probe.
    pub classification: ClassifyConfig,
    /// Halves of y that are probed separately.
    pub parts: Vec<ReadoutHalf>,
    /// Also measure pairs that differ by all transforms at once (photographs).
    pub combined: bool,
    /// Also probe planted encoders, whose attainable R2 is known in closed form (renders); off unless
    /// it is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calibrate: bool,
    /// Also train attentive probes, in which a learned query pools the tokens of both views (rows with
    /// tokens).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attentive: bool,
    /// Also test the probes on pairs of photographs from these ranges, on which they were not trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

impl Default for Probe {
    /// The protocol's values.
    fn default() -> Self {
        Probe {
            seeds: 3,
            train_pairs: 40_000,
            test_pairs: 10_000,
            regression: ProbeConfig::default(),
            classification: ClassifyConfig::default(),
            parts: vec![ReadoutHalf::All],
            combined: false,
            calibrate: false,
            attentive: false,
            shift: None,
        }
    }
}

/// The part of y that a probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReadoutHalf {
    /// All of y, which gives the headline metrics.
    All,
    /// The invariant half.
    Inv,
    /// The equivariant half.
    Equi,
}

impl fmt::Display for ReadoutHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadoutHalf::All => "all",
            ReadoutHalf::Inv => "inv",
            ReadoutHalf::Equi => "equi",
        })
    }
}
