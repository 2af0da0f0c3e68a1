//! The two kinds of data sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the two views of a pair are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    /// Photographs: view 2 is view 1 transformed with known parameters.
    Photographs,
    /// Renders of 3D objects with scene latents: a pair is two renders of the same object.
    Renders,
}

impl SetKind {
    /// Every kind.
    pub(crate) const ALL: [SetKind; 2] = [SetKind::Photographs, SetKind::Renders];

    /// Name in a pack.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Photographs => "photographs",
            Self::Renders => "renders",
        }
    }
}
