//! Resizing images and masks.

use std::borrow::Cow;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, RgbImage};

use super::decode::{LONGEST_SIDE, MOST_PIXELS};

/// The resampling filter. When an image is made smaller, both filters are widened (antialiasing), as in PIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle with radius 1: `BILINEAR` in PIL and torchvision.
    Bilinear,
    /// A cubic with radius 2 and a = -0.5: `BICUBIC` in PIL and torchvision.
    Bicubic,
}

/// Crops the central square of `image` and resizes it to `side` pixels. Cropping comes first, so that a long
/// strip costs no more than a square.
///
/// # Errors
/// A `side` of 0 or with too many pixels.
pub fn resize_square(image: &RgbImage, side: u32, filter: Filter) -> Result<RgbImage, String> {
    let bytes = square::<U8x3>(image.as_raw(), image.dimensions(), side, filter.into())?;
    RgbImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// Resizes `image` to `width` x `height` pixels.
///
/// # Errors
/// A size of 0 or with too many pixels.
pub(crate) fn resize_whole(
    image: &RgbImage,
    [width, height]: [u32; 2],
    filter: Filter,
) -> Result<RgbImage, String> {
    let bytes = resize::<U8x3>(image.as_raw(), image.dimensions(), (width, height), filter.into())?;
    RgbImage::from_raw(width, height, bytes).ok_or_else(|| "it has no pixels".into())
}

/// Resizes the box (left, top, width, height) of `image` to a square of `side` pixels.
///
/// # Errors
/// A `side` of 0 or with too many pixels, or a box that is not inside the image.
pub fn resize_box(image: &RgbImage, cut: [u32; 4], side: u32, filter: Filter) -> Result<RgbImage, String> {
    let [left, top, width, height] = cut;
    let inside =
        |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
    if !inside(left, width, image.width()) || !inside(top, height, image.height()) {
        return Err(format!("the box {cut:?} is not inside {} x {} pixels", image.width(), image.height()));
    }
    let pixels = crop::<U8x3>(image.as_raw(), image.dimensions(), cut);
    let bytes = resize::<U8x3>(&pixels, (width, height), (side, side), filter.into())?;
    RgbImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// Resizes the shorter side of `image` to `side` pixels and the longer side in proportion, rounded down (like
/// torchvision's `Resize(side)`).
///
/// # Errors
/// A result with 0 or too many pixels, for example a strip of 20,000 x 1 with a shorter side of 256.
pub fn resize_short_side(image: &RgbImage, side: u32, filter: Filter) -> Result<RgbImage, String> {
    let (width, height) = short_side_size(image.dimensions(), side)?;
    resize_whole(image, [width, height], filter)
}

/// Like [`resize_square`], but for class ids, with nearest-neighbour sampling.
///
/// # Errors
/// The errors of [`resize_square`].
pub fn resize_mask_square(mask: &GrayImage, side: u32) -> Result<GrayImage, String> {
    let bytes = square::<U8>(mask.as_raw(), mask.dimensions(), side, ResizeAlg::Nearest)?;
    GrayImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// Like [`resize_short_side`], but for class ids, with nearest-neighbour sampling.
///
/// # Errors
/// The errors of [`resize_short_side`].
pub fn resize_mask_short_side(mask: &GrayImage, side: u32) -> Result<GrayImage, String> {
    let (width, height) = short_side_size(mask.dimensions(), side)?;
    let bytes = resize::<U8>(mask.as_raw(), mask.dimensions(), (width, height), ResizeAlg::Nearest)?;
    GrayImage::from_raw(width, height, bytes).ok_or_else(|| "it has no pixels".into())
}

impl From<Filter> for ResizeAlg {
    fn from(filter: Filter) -> Self {
        ResizeAlg::Convolution(match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
        })
    }
}

/// Width and height after the shorter side is resized to `side`.
fn short_side_size((width, height): (u32, u32), side: u32) -> Result<(u32, u32), String> {
    let (short, long) = (width.min(height), width.max(height));
    let longer = (u64::from(long) * u64::from(side)).checked_div(short.into());
    match longer.and_then(|longer| u32::try_from(longer).ok()) {
        Some(longer) if width >= height => Ok((longer, side)),
        Some(longer) => Ok((side, longer)),
        None => Err(format!("{width} x {height} pixels cannot be resized to a shorter side of {side}")),
    }
}

/// Crops the central square of an image (`bytes`) and resizes it.
fn square<P: PixelTrait>(bytes: &[u8], size: (u32, u32), to: u32, how: ResizeAlg) -> Result<Vec<u8>, String> {
    let side = size.0.min(size.1);
    let cut = [(size.0 - side) / 2, (size.1 - side) / 2, side, side];
    resize::<P>(&crop::<P>(bytes, size, cut), (side, side), (to, to), how)
}

/// The pixels of a box (left, top, width, height). The resizer's own crop would also use pixels outside the
/// box.
fn crop<P: PixelTrait>(
    bytes: &[u8],
    size: (u32, u32),
    [left, top, width, height]: [u32; 4],
) -> Cow<'_, [u8]> {
    if (width, height) == size {
        return Cow::Borrowed(bytes);
    }
    let in_row = |pixels: u32| pixels as usize * P::size();
    let rows = bytes.chunks_exact(in_row(size.0).max(1)).skip(top as usize).take(height as usize);
    let mut cut = Vec::with_capacity(in_row(width) * height as usize);
    rows.for_each(|row| cut.extend_from_slice(&row[in_row(left)..in_row(left + width)]));
    Cow::Owned(cut)
}

/// Resizes `bytes` from `from` to `to` pixels. Rows are resized before columns, as in PIL; the order matters
/// where a cubic overshoots 0 or 255. The pixel type is a type parameter, because `Resizer::resize` would be
/// compiled for all 13 types.
fn resize<P: PixelTrait>(
    bytes: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    how: ResizeAlg,
) -> Result<Vec<u8>, String> {
    let pixels = u64::from(to.0) * u64::from(to.1);
    // the intermediate image has the new width and the old height, which may be larger than both
    let between = u64::from(to.0) * u64::from(from.1);
    if pixels == 0
        || from.0.min(from.1) == 0
        || pixels.max(between) > MOST_PIXELS
        || to.0.max(to.1) > LONGEST_SIDE
    {
        return Err(format!("{} x {} pixels cannot be resized to {} x {}", from.0, from.1, to.0, to.1));
    }
    let options = ResizeOptions::new().resize_alg(how);
    let pass = |bytes: &[u8], from: (u32, u32), to: (u32, u32)| {
        let source =
            TypedImageRef::<P>::from_buffer(from.0, from.1, bytes).map_err(|error| error.to_string())?;
        let mut resized = vec![0; to.0 as usize * to.1 as usize * P::size()];
        let mut target =
            TypedImage::<P>::from_buffer(to.0, to.1, &mut resized).map_err(|error| error.to_string())?;
        Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())?;
        Ok(resized)
    };
    let narrow = pass(bytes, from, (to.0, from.1))?;
    pass(&narrow, (to.0, from.1), to)
}
