//! How a source is packed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::sources::{Options, check_test_fraction};

/// Maximum side of the images of a pack.
const LARGEST_SIDE: usize = 4096;

/// Whether and how images are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Every image keeps its size and its bytes. Sets with one small size are stored as pixel arrays.
    Keep,
    /// The central square, resized to this side (bilinear, antialiased) and stored as a pixel array. Masks
    /// use nearest-neighbour sampling.
    Square(usize),
    /// Images whose shorter side is longer than this are resized to this shorter side (bicubic, antialiased)
    /// and stored as JPEG of quality 95. Their masks use nearest-neighbour sampling and are stored as PNG.
    /// All other images keep their bytes.
    ShortSide(usize),
}

/// How a source is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct PackSpec {
    /// Options for name and splits.
    pub options: Options,
    /// Whether and how images are resized.
    pub resize: Resize,
    /// Whether to skip images that cannot be used and list them in the provenance. Otherwise such an image is
    /// an error.
    pub skip_bad: bool,
}

impl Resize {
    /// The entry for the provenance.
    pub(super) fn note(self) -> Value {
        match self {
            Resize::Keep => json!("as in the source"),
            Resize::Square(side) => json!({ "central_square": side, "filter": "bilinear, antialiased" }),
            Resize::ShortSide(side) => {
                json!({ "short_side": side, "filter": "bicubic, antialiased", "jpeg_quality": 95 })
            }
        }
    }
}

impl PackSpec {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(super) fn validate(&self) -> Result<()> {
        check_test_fraction(self.options.test_fraction)?;
        match self.resize {
            Resize::Square(side) | Resize::ShortSide(side) if !(1..=LARGEST_SIDE).contains(&side) => {
                Err(Error::Invalid(format!("the side must be 1 to {LARGEST_SIDE} pixels, but is {side}")))
            }
            _ => Ok(()),
        }
    }
}
