//! `[transforms]`: what differs between the two views of a photograph.

use eqr_datasets::transforms::{Border, Ranges, Transform};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Transforms between the two views of a photograph (protocol section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Transforms {
    /// The transforms that are drawn, in the order of the table's columns.
    #[schemars(length(min = 1))]
    pub active: Vec<Transform>,
    /// What lies beyond the image's border.
    pub border: Border,
    /// Ranges of the draws.
    pub ranges: Ranges,
}

impl Default for Transforms {
    fn default() -> Self {
        Transforms {
            active: vec![Transform::Rotation, Transform::Color, Transform::Blur, Transform::Translation],
            border: Border::default(),
            ranges: Ranges::default(),
        }
    }
}
