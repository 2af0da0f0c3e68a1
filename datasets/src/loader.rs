//! Batches of images from a pack on disk. All threads read, decode and crop.

use image::RgbImage;
use rayon::prelude::*;
use tch::Tensor;

use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};
use crate::images::resize::{Filter, resize_box, resize_short_side, resize_square};
use crate::pack::PackedSplit;
use crate::transforms::{PixelBox, field_side};

/// Loads square images of one size from a split whose images may have any size.
///
/// It holds only labels and positions, about 20 bytes per image, and reads an image on request. Any number of
/// loaders, threads and processes may read the same pack. They share only the operating system's file cache.
#[derive(Clone, Debug)]
pub struct Loader {
    split: PackedSplit,
    side: usize,
}

impl Loader {
    /// Makes a loader of `side` x `side` images from `split`.
    pub fn new(split: PackedSplit, side: usize) -> Self {
        Loader { split, side }
    }

    /// The split that this loader reads.
    pub fn split(&self) -> &PackedSplit {
        &self.split
    }

    /// Side of the loaded images.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The central squares of images `indices`, resized (bilinear, antialiased): (n, 3, side, side), uint8.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] for an image that cannot be read.
    pub fn squares(&self, indices: &[usize]) -> Result<Tensor> {
        self.batch(indices, self.side, |image, _| resize_square(image, self.side as u32, Filter::Bilinear))
    }

    /// The central squares of images `indices` after resizing the shorter side to `short` pixels (bicubic,
    /// antialiased), like torchvision's `Resize` and `CenterCrop`: (n, 3, side, side), uint8.
    ///
    /// # Errors
    /// The errors of [`Loader::squares`]; [`Error::Invalid`] if `short` is below the loader's side.
    pub fn centre_crops(&self, indices: &[usize], short: usize) -> Result<Tensor> {
        self.batch(indices, self.side, |image, _| centre_crop(image, short as u32, self.side as u32))
    }

    /// View 1 of images `indices` with its surroundings (`reach` times as wide). Like
    /// [`crate::transforms::base_view`] for images in memory, but cropped at the full resolution of the
    /// image: (n, 3, F, F), uint8, with F = [`field_side`].
    ///
    /// # Errors
    /// The errors of [`Loader::squares`].
    pub fn base_views(&self, indices: &[usize], seed: u64, epoch: u64, reach: f64) -> Result<Tensor> {
        let field = field_side(self.side, reach);
        self.batch(indices, field, |image, index| cut_view(image, field, [seed, epoch, index as u64]))
    }

    fn batch(
        &self,
        indices: &[usize],
        side: usize,
        view: impl Fn(&RgbImage, usize) -> std::result::Result<RgbImage, String> + Sync,
    ) -> Result<Tensor> {
        let bytes = side * side * 3;
        let shape = [indices.len(), side, side, 3].map(|axis| axis as i64);
        let batch = Tensor::zeros(shape, (tch::Kind::Uint8, tch::Device::Cpu));
        let pixels: &mut [u8] = match batch.numel() {
            // an empty tensor has no data pointer
            0 => &mut [],
            // SAFETY: a new contiguous tensor of `all` bytes, which nothing else uses until this function
            // returns it
            all => unsafe { std::slice::from_raw_parts_mut(batch.data_ptr().cast(), all) },
        };
        pixels.par_chunks_exact_mut(bytes).zip(indices).try_for_each(|(to, &index)| {
            let image = self.split.image(index)?;
            let refused = |reason| Error::Invalid(format!("{} image {index}: {reason}", self.split.name));
            to.copy_from_slice(view(&image, index).map_err(refused)?.as_raw());
            Ok(())
        })?;
        Ok(batch.permute([0, 3, 1, 2]))
    }
}

fn centre_crop(image: &RgbImage, short: u32, side: u32) -> std::result::Result<RgbImage, String> {
    if short < side {
        return Err(format!("a square of {side} pixels cannot be cut out of a shorter side of {short}"));
    }
    let resize = |image: &RgbImage| resize_short_side(image, short, Filter::Bicubic);
    // only the middle of a strip is used, and the whole of it may be too long
    let resized = resize(image).or_else(|_| resize(&middle(image)))?;
    let start = |length: u32| (f64::from(length - side) / 2.0).round_ties_even() as u32;
    let (left, top) = (start(resized.width()), start(resized.height()));
    Ok(image::imageops::crop_imm(&resized, left, top, side, side).to_image())
}

/// The middle of a long strip: a square and the neighbourhood of its border that a bicubic filter reads.
fn middle(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let longest = 2 * width.min(height) + 16;
    // an even number of pixels is cut off, so that the middle stays where it is
    let cut = |length: u32| length.saturating_sub(longest) / 2;
    let (left, top) = (cut(width), cut(height));
    image::imageops::crop_imm(image, left, top, width - 2 * left, height - 2 * top).to_image()
}

/// View 1 of an image with its surroundings, as a square of `field` pixels: a random box and flip, drawn from
/// (seed, epoch, index), then resized (bilinear, antialiased).
///
/// # Errors
/// A `field` of 0 or with too many pixels.
pub fn cut_view(
    image: &RgbImage,
    field: usize,
    [seed, epoch, index]: [u64; 3],
) -> std::result::Result<RgbImage, String> {
    let mut draw = rng(seed, epoch, index, Purpose::BaseView);
    let cut = PixelBox::draw(&mut draw, image.height() as usize, image.width() as usize);
    let place = [cut.left, cut.top, cut.width, cut.height].map(|pixels| pixels as u32);
    let mut view = resize_box(image, place, field as u32, Filter::Bilinear)?;
    if cut.flip {
        image::imageops::flip_horizontal_in_place(&mut view);
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests the crop without resizing. torchvision rounds halves to even to get its position.
    #[test]
    fn the_centre_is_torchvisions() {
        let image = RgbImage::from_fn(10, 6, |x, y| image::Rgb([x as u8, y as u8, 0]));
        for (side, left, top) in [(4, 3, 1), (3, 4, 2), (5, 2, 0), (6, 2, 0)] {
            let crop = centre_crop(&image, 6, side).unwrap();
            assert_eq!(crop.dimensions(), (side, side));
            assert_eq!(crop.get_pixel(0, 0).0, [left, top, 0], "side {side}");
            assert_eq!(
                crop.get_pixel(side - 1, side - 1).0,
                [left + side as u8 - 1, top + side as u8 - 1, 0]
            );
        }
        // torchvision: (10 - 3) / 2 = 3.5 -> 4, (6 - 3) / 2 = 1.5 -> 2, (10 - 5) / 2 = 2.5 -> 2, (6 - 5) / 2
        // = 0.5 -> 0
        assert!(centre_crop(&image, 3, 4).is_err());
        assert_eq!(centre_crop(&image, 3, 3).unwrap().dimensions(), (3, 3));
    }

    #[test]
    fn of_a_long_strip_the_middle_is_taken() {
        let strip = |width, height| {
            RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 37) as u8, (x * y) as u8, 7]))
        };
        for image in [strip(2, 120), strip(121, 2)] {
            let crop = |image: &RgbImage| centre_crop(image, 32, 28).unwrap();
            assert_eq!(crop(&middle(&image)), crop(&image), "{:?}", image.dimensions());
        }
        // 256 x 51,200 pixels would be too long
        assert_eq!(centre_crop(&strip(2, 400), 256, 224).unwrap().dimensions(), (224, 224));
        assert_eq!(centre_crop(&strip(20_000, 1), 256, 224).unwrap().dimensions(), (224, 224));
    }
}
