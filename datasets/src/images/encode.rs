//! Encoding image files, for packs that store files.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder, ImageError, RgbImage};

/// Encodes a JPEG of `quality` 1..=100 (on libjpeg's scale) without chroma subsampling.
///
/// # Errors
/// A quality out of range, an image without pixels, or a side above 65,535.
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, String> {
    if !(1..=100).contains(&quality) {
        return Err(format!("the quality of a JPEG must be 1 to 100, but is {quality}"));
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Encodes a PNG.
///
/// # Errors
/// An image without pixels.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, String> {
    png(image.as_raw(), image.dimensions(), ExtendedColorType::Rgb8).map_err(|error| error.to_string())
}

/// Encodes class ids as an 8-bit grey PNG, for [`super::decode::decode_mask`].
///
/// # Errors
/// A mask without pixels.
pub fn encode_mask(mask: &GrayImage) -> Result<Vec<u8>, String> {
    png(mask.as_raw(), mask.dimensions(), ExtendedColorType::L8).map_err(|error| error.to_string())
}

/// Encodes a PNG. The same pixels always give the same bytes.
fn png(pixels: &[u8], (width, height): (u32, u32), kind: ExtendedColorType) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(pixels, width, height, kind)?;
    Ok(bytes)
}
