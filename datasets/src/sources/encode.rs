//! Pixels to image files, for packs that hold files.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageError, RgbImage};

/// `image` as a JPEG of `quality` 1..=100 (the scale of the JPEG group's library), without chroma subsampling.
///
/// # Errors
/// A quality outside its range, an image without pixels or longer than 65,535.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, String> {
    if !(1..=100).contains(&quality) {
        return Err(format!("the quality of a JPEG must be 1 to 100, and is {quality}"));
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// `image` as a PNG.
///
/// # Errors
/// An image without pixels.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, String> {
    png(image.as_raw(), image.dimensions(), ExtendedColorType::Rgb8).map_err(|error| error.to_string())
}

/// Class ids as an 8-bit grey PNG, which [`super::decode::decode_mask`] reads back.
///
/// # Errors
/// A mask without pixels.
pub fn encode_mask(mask: &GrayImage) -> Result<Vec<u8>, String> {
    png(mask.as_raw(), mask.dimensions(), ExtendedColorType::L8).map_err(|error| error.to_string())
}

/// The same bytes every time for the same pixels.
fn png(pixels: &[u8], (width, height): (u32, u32), kind: ExtendedColorType) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(pixels, width, height, kind)?;
    Ok(bytes)
}
