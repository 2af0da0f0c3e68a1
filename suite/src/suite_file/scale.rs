//! The size of a run against the paper's.

use serde::{Deserialize, Serialize};

/// Size of a run against the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The paper's sizes and budget.
    Full,
    /// Anything smaller.
    Reduced,
}
