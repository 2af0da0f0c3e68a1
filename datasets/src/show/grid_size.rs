//! Numbers of rows and columns.

use crate::error::{Error, Result};
use crate::pack::PackedSplit;

/// Maximum number of rows and of columns.
const MOST_LINES: usize = 200;
/// Maximum number of images or pairs in a picture.
const MOST_IMAGES: usize = 2_500;

/// Default rows and columns that fit on a screen. They differ for pairs, for images with masks and for plain
/// images.
pub fn default_grid_size(split: &PackedSplit, pairs: bool) -> (usize, usize) {
    match (pairs, split.has_masks()) {
        (true, _) => (4, 3),
        (false, true) => (4, 3),
        (false, false) => (10, 10),
    }
}

/// Refuses an empty picture and one that is too large to look at.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn check_grid_size(rows: usize, columns: usize) -> Result<()> {
    for (name, value) in [("rows", rows), ("columns", columns)] {
        if !(1..=MOST_LINES).contains(&value) {
            return Err(Error::Invalid(format!("{name} must be 1 to {MOST_LINES}, but is {value}")));
        }
    }
    match rows * columns {
        shown if shown > MOST_IMAGES => Err(Error::Invalid(format!(
            "rows x columns must be at most {MOST_IMAGES}, but is {shown}; hint: lower one"
        ))),
        _ => Ok(()),
    }
}
