//! How a source is packed.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sources::{Options, check_test_fraction};

/// Largest side of the images of a pack.
const LARGEST_SIDE: usize = 4096;

/// What happens to the sizes of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Every image keeps its size and its bytes. Sets of one small size are stored as arrays of pixels.
    Keep,
    /// The central square, resized to this side (bilinear, antialiased), as an array of pixels; masks by the
    /// nearest pixel.
    Square(usize),
    /// Images with a longer shorter side are resized to this shorter side (bicubic, antialiased) and stored
    /// as JPEG of quality 95; masks by the nearest pixel, as PNG. The other images keep their bytes.
    ShortSide(usize),
}

/// How a source is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct PackSpec {
    /// Name, labels and splits.
    pub options: Options,
    /// Sizes.
    pub resize: Resize,
    /// Leave out images that cannot be used, and list them in the provenance. Otherwise such an image is an
    /// error.
    pub skip_bad: bool,
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
                Err(Error::Invalid(format!("the side must be 1 to {LARGEST_SIDE} pixels, and is {side}")))
            }
            _ => Ok(()),
        }
    }
}
