//! What was read of a training since the last point of its loss curve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was read since the last point of the curve. It goes into checkpoints, so that a training stopped between two points draws the same
/// curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    pub(crate) terms: BTreeMap<String, f64>,
    pub(crate) gradient_norms: f64,
    pub(crate) count: u64,
}

impl Sums {
    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
