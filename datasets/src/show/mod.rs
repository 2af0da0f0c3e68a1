//! Pictures of a pack for people: [`grid_png`] of its images, [`pairs_png`] of its pairs of views, [`predictions_png`] of what an encoder made
//! of its scenes. Only the images that are drawn are read.

mod grid;
mod masks;
mod pairs;
mod predictions;
mod sheet;
mod text;

pub use grid::{all_over, grid_png};
pub use pairs::{PairChoice, pairs_png};
pub use predictions::predictions_png;
pub use text::FONT;

use crate::dataset::Kind;
use crate::error::{Error, Result};
use crate::pack::{Pack, PackedSplit};
use sheet::grouped;

/// Most rows, and most columns.
const MOST: usize = 200;
/// Most images, or pairs, in a picture.
const MOST_SHOWN: usize = 2_500;

/// Rows and columns that fit on a screen: of images, of images with masks, of pairs.
pub fn comfortable(split: &PackedSplit, pairs: bool) -> (usize, usize) {
    match (pairs, split.has_masks()) {
        (true, _) => (4, 3),
        (false, true) => (4, 3),
        (false, false) => (10, 10),
    }
}

/// Refuses a picture of nothing, and one that nobody could look at.
fn check(rows: usize, columns: usize) -> Result<()> {
    for (name, value) in [("rows", rows), ("columns", columns)] {
        if !(1..=MOST).contains(&value) {
            return Err(Error::Invalid(format!("{name} must be 1 to {MOST}, and is {value}")));
        }
    }
    match rows * columns {
        shown if shown > MOST_SHOWN => {
            Err(Error::Invalid(format!("rows x columns must be at most {MOST_SHOWN}, and is {shown}; hint: lower one")))
        }
        _ => Ok(()),
    }
}

/// What a split holds, in a line.
fn about(pack: &Pack, split: &PackedSplit) -> String {
    let what = match (pack.kind, split.has_masks()) {
        (Kind::Renders, _) => format!("{} renders of {} objects", grouped(split.len()), grouped(split.units())),
        (Kind::Photographs, true) => format!("{} images with masks", grouped(split.len())),
        (Kind::Photographs, false) => format!("{} images", grouped(split.len())),
    };
    format!("{}: {what}, {} classes", split.name, grouped(pack.class_names.len()))
}

/// The name of the class of image `index`; of a set with masks the classes are those of pixels.
fn class_name<'a>(pack: &'a Pack, split: &PackedSplit, index: usize) -> Option<&'a str> {
    let label = split.labels.get(index).filter(|_| !split.has_masks())?;
    pack.class_names.get(usize::try_from(*label).ok()?).map(String::as_str)
}

/// An [`Error::Invalid`] about an image that cannot be drawn.
fn undrawable(split: &PackedSplit, index: usize) -> impl FnOnce(String) -> Error {
    let name = split.name;
    move |reason| Error::Invalid(format!("{name} image {index}: {reason}"))
}
