//! Pictures of a pack for people: [`grid_png`] of its images, [`pairs_png`] of pairs of views,
//! [`predictions_png`] of segmentations by an encoder. Only the images in the picture are read.

mod grid;
mod grid_size;
mod labels;
mod masks;
mod pairs;
mod pen;
mod predictions;
mod sheet;

pub use grid::{evenly_spaced, grid_png};
pub use grid_size::default_grid_size;
pub use pairs::{PairChoice, pairs_png};
pub use pen::FONT;
pub use predictions::predictions_png;
