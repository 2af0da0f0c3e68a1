//! Sums of a training's readings since the last point of its loss curve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sums since the last point of the curve. They are part of a checkpoint, so that a training stopped between
/// two points gives the same curve as an uninterrupted one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurveSums {
    pub(crate) terms: BTreeMap<String, f64>,
    pub(crate) gradient_norms: f64,
    pub(crate) count: u64,
}

impl CurveSums {
    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
