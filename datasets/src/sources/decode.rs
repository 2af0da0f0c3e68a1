//! An image file to RGB pixels of one size.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};

/// Longest side that is decoded.
const LONGEST_SIDE: u32 = 32_768;
/// Most pixels that are decoded: about 400 MB as 16-bit RGBA.
const MOST_PIXELS: u64 = 50_000_000;
/// Most bytes a decoder may ask for.
const MOST_BYTES: u64 = 512 << 20;

/// `bytes` as 8-bit RGB, or what is wrong with them.
///
/// Grey is repeated in the three channels, palettes are looked up, 16 bits are rounded to 8, alpha is dropped (as PIL's
/// `convert("RGB")` does). With `side` the central square is resized to it, bilinear and antialiased.
pub(super) fn decode(bytes: &[u8], side: Option<usize>) -> Result<RgbImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    match reader.format() {
        Some(ImageFormat::Jpeg) if !has_end_of_jpeg(bytes) => return Err("a truncated JPEG: it has no end".into()),
        Some(ImageFormat::Jpeg | ImageFormat::Png) => {}
        _ => return Err("neither JPEG nor PNG inside".into()),
    }
    check_size(bytes)?;
    let mut reader = reader;
    reader.limits(limits());
    let image = reader.decode().map_err(|error| error.to_string())?;
    Ok(match side {
        Some(side) => square(image, side as u32),
        None => image.into_rgb8(),
    })
}

/// Bounds within which decoders are kept.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_BYTES);
    limits
}

/// Refuses an image of too many pixels by its header alone.
fn check_size(bytes: &[u8]) -> Result<(), String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let (width, height) = reader.into_dimensions().map_err(|error| error.to_string())?;
    let fits = width <= LONGEST_SIDE && height <= LONGEST_SIDE && u64::from(width) * u64::from(height) <= MOST_PIXELS;
    match fits {
        true => Ok(()),
        false => Err(format!("{width} x {height} pixels, expected at most {MOST_PIXELS} and {LONGEST_SIDE} a side")),
    }
}

/// Whether the marker that ends a JPEG follows the last one that starts its pixels. The decoder fills what is missing
/// with grey and says nothing.
fn has_end_of_jpeg(bytes: &[u8]) -> bool {
    let position = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    match (position(0xda), position(0xd9)) {
        (Some(start_of_pixels), Some(end)) => end > start_of_pixels,
        // a file without pixels is the decoder's to refuse
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// The central square resized to `side`. Cutting first gives the same picture as resizing the shorter side first, and
/// costs no more for a long strip.
fn square(image: DynamicImage, side: u32) -> RgbImage {
    let shorter = image.width().min(image.height());
    let (left, top) = ((image.width() - shorter) / 2, (image.height() - shorter) / 2);
    let cut = imageops::crop_imm(&image.into_rgb8(), left, top, shorter, shorter).to_image();
    if shorter == side { cut } else { imageops::resize(&cut, side, side, FilterType::Triangle) }
}
