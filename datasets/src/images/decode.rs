//! Decoding image files.

use std::io::Cursor;

use image::{GrayImage, ImageFormat, ImageReader, Limits, RgbImage};
use png::{BitDepth, ColorType, Transformations};

use crate::file_kind::FileKind;

/// Maximum side of a decoded image in pixels.
pub(crate) const LONGEST_SIDE: u32 = 32_768;
/// Maximum number of pixels of a decoded image: about 400 MB as 16-bit RGBA.
pub(crate) const MOST_PIXELS: u64 = 50_000_000;
/// Maximum number of bytes that a decoder may allocate.
const MOST_BYTES: usize = 512 << 20;
/// Maximum number of pixels that a byte of a JPEG, PNG, GIF or BMP can encode. Deflate compresses at most
/// 1,032 to 1, and a byte holds eight 1-bit pixels. (The other formats encode less: 64 pixels of a JPEG take
/// at least 1 bit, 4,096 pixels of a GIF at least 12 bits, and 255 pixels of a BMP at least 2 bytes.)
const PIXELS_PER_BYTE: u64 = 8 * 1_032;
/// The same for WebP and TIFF, and thus for any file. In a WebP a pixel may take no bits at all, but the file
/// has a header of about 40 bytes.
const MOST_PIXELS_PER_BYTE: u64 = MOST_PIXELS / 32;
/// Bytes per decoded pixel: 16-bit RGBA.
const BYTES_PER_PIXEL: u64 = 8;

/// Decodes a JPEG, PNG, GIF, BMP, WebP or TIFF to 8-bit RGB. The format is detected from the content, because
/// published sets contain GIF and BMP files named `.jpg`. If there are several frames, the first is used.
///
/// Grey is copied to all three channels, palettes are looked up, 16 bits are rounded to 8, and alpha is
/// dropped. CMYK and YCCK are assumed to be inverted, as Adobe writes them, and are converted by
/// multiplication (as in PIL's `convert("RGB")`). The EXIF orientation is not applied (as in PIL's `open`).
///
/// # Errors
/// Another format, a truncated or damaged file, more than 50 million pixels, more than 32,768 pixels per
/// side, or more pixels than a file of this size can hold.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let format = format(bytes)?;
    check_end(bytes, format)?;
    let size = reader(bytes, format).into_dimensions().map_err(|error| error.to_string())?;
    let pixels_per_byte = match format {
        ImageFormat::WebP | ImageFormat::Tiff => MOST_PIXELS_PER_BYTE,
        _ => PIXELS_PER_BYTE,
    };
    check_pixels(bytes.len() as u64, pixels_per_byte, size)?;
    let mut reader = reader(bytes, format);
    reader.limits(limits(bytes, pixels_per_byte));
    Ok(reader.decode().map_err(|error| error.to_string())?.into_rgb8())
}

/// Decodes the class ids of a PNG: its 8-bit grey values, or its palette indices (not the colours).
///
/// # Errors
/// The errors of [`decode`]; another format; another type of PNG (16-bit, colour, or 1- to 4-bit grey, which
/// PIL scales and other programs do not).
pub fn decode_mask(bytes: &[u8]) -> Result<GrayImage, String> {
    if image::guess_format(bytes).ok() != Some(ImageFormat::Png) {
        return Err(FileKind::of(bytes).instead_of("a mask as PNG", "hint: JPEG does not keep class ids"));
    }
    check_end(bytes, ImageFormat::Png)?;
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
    check_pixels(bytes.len() as u64, PIXELS_PER_BYTE, (width, height))?;
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

/// The format of `bytes`, if it is supported.
fn format(bytes: &[u8]) -> Result<ImageFormat, String> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    match (image::guess_format(bytes), FileKind::of(bytes)) {
        (_, FileKind::RawPhotograph) => Err(FileKind::RawPhotograph),
        (Ok(format @ (Jpeg | Png | Gif | Bmp | WebP | Tiff)), _) => Ok(format),
        // a TIFF with positions of 64 bits
        (_, FileKind::Tiff) => Ok(Tiff),
        (_, kind) => Err(kind),
    }
    .map_err(|kind| {
        let expected = "a JPEG, PNG, GIF, BMP, WebP or TIFF";
        // without a line of its own where there is nothing to do
        kind.hint()
            .map_or(format!("expected {expected}, found {kind}"), |hint| kind.instead_of(expected, hint))
    })
}

fn reader(bytes: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    ImageReader::with_format(Cursor::new(bytes), format)
}

/// Limits for the decoders of `bytes`. A GIF frame may be larger than the image, and only the image size is
/// checked in advance.
fn limits(bytes: &[u8], pixels_per_byte: u64) -> Limits {
    let most = (bytes.len() as u64).saturating_mul(pixels_per_byte * BYTES_PER_PIXEL);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(most.min(MOST_BYTES as u64));
    limits
}

/// Refuses an image without pixels, or with more pixels than a file of `bytes` bytes of any format can hold.
/// Memory is allocated only after this check.
pub(crate) fn check_size(bytes: u64, size: (u32, u32)) -> Result<(), String> {
    check_pixels(bytes, MOST_PIXELS_PER_BYTE, size)
}

fn check_pixels(bytes: u64, pixels_per_byte: u64, (width, height): (u32, u32)) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        Err(format!("an image of {width} x {height} pixels"))
    } else if width > LONGEST_SIDE || height > LONGEST_SIDE || pixels > MOST_PIXELS {
        Err(format!("{width} x {height} pixels, expected at most {MOST_PIXELS} and {LONGEST_SIDE} per side"))
    } else if pixels > bytes.saturating_mul(pixels_per_byte) {
        Err(format!("{width} x {height} pixels declared, which {bytes} bytes cannot hold"))
    } else {
        Ok(())
    }
}

/// Refuses a file whose end is missing. The JPEG decoder would silently fill the missing part with grey.
fn check_end(bytes: &[u8], format: ImageFormat) -> Result<(), String> {
    let is_whole = match format {
        ImageFormat::Jpeg => has_end_of_jpeg(bytes),
        ImageFormat::Png => last_position(bytes, b"IEND").is_some(),
        ImageFormat::WebP => has_end_of_webp(bytes),
        _ => true,
    };
    let name = FileKind::of(bytes).name().trim_end_matches(" image");
    if is_whole { Ok(()) } else { Err(format!("a truncated {name}: its end is missing")) }
}

/// Whether a WebP has as many bytes as its header says.
fn has_end_of_webp(bytes: &[u8]) -> bool {
    let length =
        bytes.get(4..8).map(|length| u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
    length.is_some_and(|length| bytes.len() as u64 >= 8 + u64::from(length))
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
