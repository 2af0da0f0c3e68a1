//! `[data]`: where the images come from.

use eqr_datasets::solids::SolidsSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "source")]
pub enum Data {
    /// Rendered when the run starts, and kept in its folder.
    Solids {
        /// What is rendered.
        #[serde(default)]
        spec: SolidsSpec,
    },
    /// A pack made by `data pack` or `data generate`, searched in every data root.
    Pack {
        /// File name, or an absolute path.
        file: String,
        /// The command that makes it, for the error message when it is missing.
        #[serde(default)]
        made_by: String,
        /// Side to which the images are resized; default: their own, if they are squares of one size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        side: Option<usize>,
    },
}
