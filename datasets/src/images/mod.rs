//! Single images: decoding, encoding and resizing.

pub mod decode;
pub mod encode;
pub mod resize;
