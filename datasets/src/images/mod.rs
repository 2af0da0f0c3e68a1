//! Single images: files to pixels, pixels to files, and other sizes.

pub mod decode;
pub mod encode;
pub mod resize;
