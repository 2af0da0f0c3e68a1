//! View 1: the base augmentation of a photograph.

use tch::{Kind, Tensor};

use super::first_view::FirstView;
use super::frame::Frame;
use super::pixel_box::PixelBox;
use super::resized_crop::ResizedCrop;
use crate::draw::{Purpose, rng};
use crate::host_numbers::{DeviceNumbers, HostNumbers};

/// View 1 (N, 3, S, S) of `images` (N, 3, H, W), uint8 or floats in [0, 1], as [`BaseView::new`] says.
pub fn base_view(images: &Tensor, keys: &[u64], seed: u64, epoch: u64, reach: f64) -> FirstView {
    let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
    let mut numbers = HostNumbers::default();
    let draw = BaseDraw { keys, seed, epoch, reach };
    let view = BaseView::new([height, width], images.kind(), draw, &mut numbers);
    view.of(images, &numbers.on_device(images.device()))
}

/// What view 1 of a batch depends on beside the images.
#[derive(Clone, Copy, Debug)]
pub struct BaseDraw<'a> {
    /// Indices of the N images in the data set.
    pub keys: &'a [u64],
    /// Seed of the boxes.
    pub seed: u64,
    /// Epoch.
    pub epoch: u64,
    /// Side of the field around view 1, relative to that of view 1 (see [`super::Border::reach`]).
    pub reach: f64,
}

/// View 1 of a batch, as numbers on their way to the device.
#[derive(Debug)]
pub struct BaseView {
    crop: ResizedCrop,
    side: i64,
}

impl BaseView {
    /// View 1 (N, 3, S, S) of images (N, 3, H, W) of `kind`, uint8 or floats in [0, 1], with S = min(H, W): a
    /// random box with 0.5 to 1 of the image's area, resized with antialiasing and randomly flipped.
    ///
    /// With a `reach` above 1, the box becomes a field that is `reach` times wider than view 1. View 1 is the
    /// middle of the field: a window with 1 / reach of the box's sides. The field has (reach S)^2 pixels per
    /// image.
    ///
    /// The box depends only on seed, epoch and index. uint8 images give float32 views in [0, 1].
    pub fn new([height, width]: [i64; 2], kind: Kind, draw: BaseDraw, numbers: &mut HostNumbers) -> BaseView {
        let BaseDraw { keys, seed, epoch, reach } = draw;
        let draw = |&key: &u64| {
            PixelBox::draw(&mut rng(seed, epoch, key, Purpose::BaseView), height as usize, width as usize)
        };
        let boxes: Vec<PixelBox> = keys.iter().map(draw).collect();
        let side = height.min(width);
        let field = field_side(side as usize, reach);
        BaseView { crop: ResizedCrop::new(&boxes, [height, width], field, kind, numbers), side }
    }

    /// The sizes of view 1 and its field.
    pub fn frame(&self) -> Frame {
        Frame::square(self.side, self.crop.side())
    }

    /// View 1 of `images`.
    pub fn of(&self, images: &Tensor, numbers: &DeviceNumbers) -> FirstView {
        FirstView::centered_in(&self.crop.of(images, numbers), self.side)
    }
}

/// Side of the field around a view 1 of `side` pixels. The field extends by the same whole number of pixels
/// on all sides of view 1, so that view 1 can be cropped from it without resampling.
pub fn field_side(side: usize, reach: f64) -> usize {
    side + 2 * (side as f64 * (reach - 1.0) / 2.0).max(0.0).ceil() as usize
}
