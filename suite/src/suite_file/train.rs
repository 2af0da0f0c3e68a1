//! `[train]`: pretraining.

use std::ops::Not;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pretraining (protocol section 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Number of pairs per step, over all ranks.
    pub batch: usize,
    /// Passes over the objects (renders) or images (photographs).
    pub epochs: u64,
    /// Passes of direct regression, if it needs more than the other methods to converge. It is the ceiling of
    /// the tables and not a contestant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_epochs: Option<u64>,
    /// Learning rate at batch 256; scaled linearly with the batch.
    pub lr: f64,
    /// L2 term in the gradient.
    pub weight_decay: f64,
    /// Fraction of the training units, above 0 and at most 1, whose transforms and labels are known (protocol
    /// section 7). Methods that need either train on these units only, and so do the probes of all methods.
    /// Each of these methods is then trained a second time, for as many steps as the others. If unset, all
    /// units are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_fraction: Option<f64>,
    /// Epochs between points of the probe curve; if unset, only the final encoder is probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_every: Option<u64>,
    /// The encoder that every training starts from: a safetensors file of `eqr-bench export`, or of any ViT
    /// with timm's names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Keep only the inputs of the encoder's blocks, and compute each block again in the backward pass. Needs
    /// less memory and more time; the losses stay the same. A run may be continued with the other value.
    #[serde(skip_serializing_if = "Not::not")]
    pub recompute: bool,
}

impl Default for Train {
    /// The protocol's values.
    fn default() -> Self {
        Train {
            batch: 2048,
            epochs: 800,
            ceiling_epochs: None,
            lr: 1e-4,
            weight_decay: 1e-6,
            known_fraction: None,
            probe_every: None,
            init: None,
            recompute: false,
        }
    }
}
