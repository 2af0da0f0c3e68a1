//! Transforms of photographs with exactly known parameters.
//!
//! [`Draws::sample`] draws parameters, [`FirstView::transformed`] applies them, and [`Draws::target`] writes
//! them as target vectors. All three are in this module, so that they stay consistent. All operations are
//! batched tensor operations on the device and in the floating-point type of the input. Images are (N, 3, H,
//! W) in [0, 1].

mod affine;
mod base_view;
mod best_guess;
mod blur;
mod border;
mod color;
mod draws;
mod first_view;
mod frame;
mod pair;
mod pixel_box;
mod ranges;
mod resized_crop;
mod second_view;
mod separable;
mod shift;
mod transform;

pub use base_view::{BaseDraw, BaseView, base_view, field_side};
pub use border::Border;
pub use draws::{Crop, Draw, Draws};
pub use first_view::FirstView;
pub use frame::Frame;
pub use pair::{apply, photo_pair};
pub use pixel_box::PixelBox;
pub use ranges::Ranges;
pub use resized_crop::resized_crop;
pub use second_view::SecondView;
pub use shift::Shift;
pub use transform::Transform;
