//! Decoding image files.

use std::io::Cursor;

use image::{GrayImage, ImageFormat, ImageReader, Limits, RgbImage};
use png::{BitDepth, ColorType, Transformations};

/// Maximum side of a decoded image in pixels.
pub(crate) const LONGEST_SIDE: u32 = 32_768;
/// Maximum number of pixels of a decoded image: about 400 MB as 16-bit RGBA.
pub(crate) const MOST_PIXELS: u64 = 50_000_000;
/// Maximum number of bytes that a decoder may allocate.
const MOST_BYTES: usize = 512 << 20;
/// Maximum number of pixels that a byte of a file can encode. Deflate compresses at most 1,032 to 1, and a
/// byte holds eight 1-bit pixels. (The other formats encode less: 64 pixels of a JPEG take at least 1 bit,
/// 4,096 pixels of a GIF at least 12 bits, and 255 pixels of a BMP at least 2 bytes.)
const PIXELS_PER_BYTE: u64 = 8 * 1_032;
/// Bytes per decoded pixel: 16-bit RGBA.
const BYTES_PER_PIXEL: u64 = 8;

/// Decodes a JPEG, PNG, GIF or BMP to 8-bit RGB. The format is detected from the content, because published
/// sets contain GIF and BMP files named `.jpg`. If there are several frames, the first is used.
///
/// Grey is copied to all three channels, palettes are looked up, 16 bits are rounded to 8, and alpha is
/// dropped. CMYK and YCCK are assumed to be inverted, as Adobe writes them, and are converted by
/// multiplication (as in PIL's `convert("RGB")`). The EXIF orientation is not applied (as in PIL's `open`).
///
/// # Errors
/// Another format, a truncated or damaged file, more than 50 million pixels, more than 32,768 pixels per
/// side, or more pixels than a file of this size can hold.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    check_end(bytes)?;
    check_size(bytes.len() as u64, dimensions(bytes)?)?;
    let mut reader = reader(bytes)?;
    reader.limits(limits(bytes));
    Ok(reader.decode().map_err(|error| error.to_string())?.into_rgb8())
}

/// Decodes the class ids of a PNG: its 8-bit grey values, or its palette indices (not the colours).
///
/// # Errors
/// The errors of [`decode`]; another format; another type of PNG (16-bit, colour, or 1- to 4-bit grey, which
/// PIL scales and other programs do not).
pub fn decode_mask(bytes: &[u8]) -> Result<GrayImage, String> {
    if image::guess_format(bytes).ok() != Some(ImageFormat::Png) {
        return Err("a mask must be a PNG".into());
    }
    check_end(bytes)?;
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    // keep the values as stored in the file
    decoder.set_transformations(Transformations::IDENTITY);
    let info = decoder.read_header_info().map_err(|error| error.to_string())?;
    let (width, height, depth) = (info.width, info.height, info.bit_depth);
    match (info.color_type, depth) {
        (ColorType::Grayscale, BitDepth::Eight) => {}
        (ColorType::Indexed, BitDepth::One | BitDepth::Two | BitDepth::Four | BitDepth::Eight) => {}
        (kind, depth) => {
            return Err(format!(
                "a mask must be 8-bit grey or have a palette, but is {kind:?}, {} bits",
                depth as u8
            ));
        }
    }
    check_size(bytes.len() as u64, (width, height))?;
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let mut rows = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let line = reader.next_frame(&mut rows).map_err(|error| error.to_string())?.line_size;
    let ids = rows.chunks(line).flat_map(|row| unpacked(row, depth).take(width as usize)).collect();
    GrayImage::from_raw(width, height, ids).ok_or_else(|| "it has too few pixels".into())
}

/// The samples of a row. A byte may hold several; the first is in the high bits.
fn unpacked(row: &[u8], depth: BitDepth) -> impl Iterator<Item = u8> + '_ {
    let bits = depth as u32;
    let samples = (8 / bits).max(1);
    let mask = u8::MAX >> 8u32.saturating_sub(bits);
    row.iter().flat_map(move |&byte| (1..=samples).map(move |at| (byte >> (8 - at * bits)) & mask))
}

/// A reader for `bytes` in a supported format.
fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, String> {
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif | ImageFormat::Bmp)) => {
            Ok(ImageReader::with_format(Cursor::new(bytes), format))
        }
        _ if bytes.is_empty() => Err("an empty file".into()),
        _ => Err("not a JPEG, PNG, GIF or BMP".into()),
    }
}

/// Reads width and height from the header only.
fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    reader(bytes)?.into_dimensions().map_err(|error| error.to_string())
}

/// Limits for the decoders of `bytes`. A GIF frame may be larger than the image, and only the image size is
/// checked in advance.
fn limits(bytes: &[u8]) -> Limits {
    let most = (bytes.len() as u64).saturating_mul(PIXELS_PER_BYTE * BYTES_PER_PIXEL);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(most.min(MOST_BYTES as u64));
    limits
}

/// Refuses an image without pixels, or with more pixels than a file of `bytes` bytes can hold. Memory is
/// allocated only after this check.
pub(crate) fn check_size(bytes: u64, (width, height): (u32, u32)) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        Err(format!("an image of {width} x {height} pixels"))
    } else if width > LONGEST_SIDE || height > LONGEST_SIDE || pixels > MOST_PIXELS {
        Err(format!("{width} x {height} pixels, expected at most {MOST_PIXELS} and {LONGEST_SIDE} per side"))
    } else if pixels > bytes.saturating_mul(PIXELS_PER_BYTE) {
        Err(format!("{width} x {height} pixels declared, which {bytes} bytes cannot hold"))
    } else {
        Ok(())
    }
}

/// Refuses a file whose end is missing. The JPEG decoder would silently fill the missing part with grey.
fn check_end(bytes: &[u8]) -> Result<(), String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) if !has_end_of_jpeg(bytes) => {
            Err("a truncated JPEG: its end is missing".into())
        }
        Ok(ImageFormat::Png) if last_position(bytes, b"IEND").is_none() => {
            Err("a truncated PNG: its end is missing".into())
        }
        _ => Ok(()),
    }
}

/// Whether a JPEG has an end marker after the last marker that starts pixel data.
fn has_end_of_jpeg(bytes: &[u8]) -> bool {
    match (last_position(bytes, &[0xff, 0xda]), last_position(bytes, &[0xff, 0xd9])) {
        (Some(start_of_pixels), Some(end)) => end > start_of_pixels,
        // the decoder refuses a file without pixels
        (None, _) => true,
        (Some(_), None) => false,
    }
}

/// The last position of `mark`.
fn last_position(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).rposition(|window| window == mark)
}
