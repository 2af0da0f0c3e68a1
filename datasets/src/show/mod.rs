//! Pictures of a pack: [`grid_png`] shows images, [`pairs_png`] pairs of views, and [`predictions_png`] an
//! encoder's segmentations. Only the images in the picture are read.

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
pub use sheet::Picture;
