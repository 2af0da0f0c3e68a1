//! The size of a run compared with the paper.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Size of a run compared with the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The paper's sizes and budget.
    Full,
    /// Anything smaller.
    Reduced,
}
