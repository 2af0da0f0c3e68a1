//! The transformations.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A transformation of a photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// About the centre; counter-clockwise, as seen, is positive.
    Rotation,
    /// The content moves right (dx > 0) and down (dy > 0).
    Translation,
    /// A box of the image is resized to the full size.
    Crop,
    /// Left and right are swapped.
    Flip,
    /// Brightness, contrast, saturation and hue, in this order.
    Color,
    /// Gaussian blur.
    Blur,
}

impl Transform {
    /// All transforms, in table order.
    pub const ALL: [Transform; 6] = [
        Transform::Rotation,
        Transform::Translation,
        Transform::Crop,
        Transform::Flip,
        Transform::Color,
        Transform::Blur,
    ];

    /// Length of the parameter vector.
    pub const fn dim(self) -> usize {
        match self {
            Transform::Rotation | Transform::Flip | Transform::Blur => 1,
            Transform::Translation => 2,
            Transform::Crop | Transform::Color => 4,
        }
    }

    /// Name in suite files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Transform::Rotation => "rotation",
            Transform::Translation => "translation",
            Transform::Crop => "crop",
            Transform::Flip => "flip",
            Transform::Color => "color",
            Transform::Blur => "blur",
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transform {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Transform::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
            let names = Transform::ALL.map(Transform::name).join(", ");
            Error::Invalid(format!("unknown transform `{name}`: expected one of {names}"))
        })
    }
}
