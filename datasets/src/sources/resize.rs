//! Images and masks of other sizes.

use std::borrow::Cow;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, RgbImage};

use super::decode::{LONGEST_SIDE, MOST_PIXELS};

/// How pixels are weighed. Both widen with the step when an image is made smaller (antialiased), as PIL's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A tent of radius 1: PIL's and torchvision's `BILINEAR`.
    Bilinear,
    /// A cubic of radius 2 with a = -0.5: PIL's and torchvision's `BICUBIC`.
    Bicubic,
}

/// The central square of `image`, resized to `side` pixels. Cutting first gives the picture that resizing the shorter
/// side first would give, and costs no more for a long strip.
///
/// # Errors
/// A side of no pixels or too many.
pub fn resize_square(image: &RgbImage, side: u32, filter: Filter) -> Result<RgbImage, String> {
    let region = Region::square(image.dimensions());
    let bytes = resize(image.as_raw(), PixelType::U8x3, region, (side, side), filter.into())?;
    RgbImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// The box of `image` with this left, top, width and height, inside it, as a square of `side` pixels.
///
/// # Errors
/// A side of no pixels or too many, a box that reaches out of the image.
pub fn resize_box(image: &RgbImage, cut: (u32, u32, u32, u32), side: u32, filter: Filter) -> Result<RgbImage, String> {
    let region = Region { size: image.dimensions(), cut };
    let bytes = resize(image.as_raw(), PixelType::U8x3, region, (side, side), filter.into())?;
    RgbImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// `image` with its shorter side of `side` pixels and the longer one in proportion, rounded down (as torchvision's
/// `Resize(side)`).
///
/// # Errors
/// A result of no pixels or too many: a strip of 20,000 x 1 has no short side of 256.
pub fn resize_short_side(image: &RgbImage, side: u32, filter: Filter) -> Result<RgbImage, String> {
    let (width, height) = short_side_size(image.dimensions(), side)?;
    let region = Region::whole(image.dimensions());
    let bytes = resize(image.as_raw(), PixelType::U8x3, region, (width, height), filter.into())?;
    RgbImage::from_raw(width, height, bytes).ok_or_else(|| "it has no pixels".into())
}

/// As [`resize_square`] for class ids: each pixel is its nearest one.
///
/// # Errors
/// As [`resize_square`].
pub fn resize_mask_square(mask: &GrayImage, side: u32) -> Result<GrayImage, String> {
    let region = Region::square(mask.dimensions());
    let bytes = resize(mask.as_raw(), PixelType::U8, region, (side, side), ResizeAlg::Nearest)?;
    GrayImage::from_raw(side, side, bytes).ok_or_else(|| "it has no pixels".into())
}

/// As [`resize_short_side`] for class ids: each pixel is its nearest one.
///
/// # Errors
/// As [`resize_short_side`].
pub fn resize_mask_short_side(mask: &GrayImage, side: u32) -> Result<GrayImage, String> {
    let (width, height) = short_side_size(mask.dimensions(), side)?;
    let region = Region::whole(mask.dimensions());
    let bytes = resize(mask.as_raw(), PixelType::U8, region, (width, height), ResizeAlg::Nearest)?;
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

/// Width and height of an image whose shorter side becomes `side`.
fn short_side_size((width, height): (u32, u32), side: u32) -> Result<(u32, u32), String> {
    let longer = |long: u32, short: u32| u64::from(long) * u64::from(side) / u64::from(short.max(1));
    let longest = longer(width.max(height), width.min(height));
    match u32::try_from(longest) {
        Ok(longest) if width >= height => Ok((longest, side)),
        Ok(longest) => Ok((side, longest)),
        Err(_) => Err(format!("{width} x {height} pixels has no short side of {side}")),
    }
}

/// What of an image is taken.
struct Region {
    /// Width and height of the whole.
    size: (u32, u32),
    /// Left, top, width, height.
    cut: (u32, u32, u32, u32),
}

impl Region {
    fn whole((width, height): (u32, u32)) -> Self {
        Self { size: (width, height), cut: (0, 0, width, height) }
    }

    fn square((width, height): (u32, u32)) -> Self {
        let side = width.min(height);
        Self { size: (width, height), cut: ((width - side) / 2, (height - side) / 2, side, side) }
    }
}

impl Region {
    /// The pixels that are taken, of `bytes` bytes each, in memory of their own: the resizer's own crop would weigh in the pixels
    /// beyond its edges.
    fn pixels<'a>(&self, all: &'a [u8], bytes: usize) -> Cow<'a, [u8]> {
        let (left, top, width, height) = self.cut;
        if (width, height) == self.size {
            return Cow::Borrowed(all);
        }
        let row = self.size.0 as usize * bytes;
        let rows = all.chunks_exact(row.max(1)).skip(top as usize).take(height as usize);
        let part = left as usize * bytes..(left + width) as usize * bytes;
        Cow::Owned(rows.flat_map(|row| row.get(part.clone()).unwrap_or_default()).copied().collect())
    }
}

/// The region of `pixels` as `width` x `height`.
fn resize(
    pixels: &[u8],
    kind: PixelType,
    region: Region,
    (width, height): (u32, u32),
    algorithm: ResizeAlg,
) -> Result<Vec<u8>, String> {
    let (side, pixel_count) = (width.max(height), u64::from(width) * u64::from(height));
    if pixel_count == 0 || pixel_count > MOST_PIXELS || side > LONGEST_SIDE {
        return Err(format!("cannot be resized to {width} x {height} pixels"));
    }
    let (.., cut_width, cut_height) = region.cut;
    let cut = region.pixels(pixels, kind.size());
    let source = ImageRef::new(cut_width, cut_height, &cut, kind).map_err(|error| error.to_string())?;
    let options = ResizeOptions::new().resize_alg(algorithm);
    let mut target = Image::new(width, height, kind);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}
