//! View 2: the transforms of a batch, as numbers on their way to the device.

use tch::Tensor;

use super::affine::Resampling;
use super::blur::Blur;
use super::border::Border;
use super::color::Jitter;
use super::draws::Draws;
use super::frame::Frame;
use crate::host_numbers::{DeviceNumbers, HostNumbers};

/// The transforms that make view 2 of a batch.
#[derive(Debug)]
pub struct SecondView {
    images: usize,
    frame: Frame,
    border: Border,
    /// `None` if it changes no image; so is the blur.
    resampling: Option<Resampling>,
    jitter: Jitter,
    blur: Option<Blur>,
}

impl SecondView {
    /// The transforms by `draws` (one per image) of first views of these sizes.
    ///
    /// Order: first flip, crop, rotation and translation as one bilinear resampling, then color, then blur. A
    /// stage is skipped if its parameters are the identity for every image of the batch, so that identity
    /// parameters change nothing. `border` decides what view 2 shows beyond the surroundings.
    pub fn new(draws: &Draws, frame: Frame, border: Border, numbers: &mut HostNumbers) -> SecondView {
        SecondView {
            images: draws.len(),
            frame,
            border,
            resampling: Resampling::new(draws, frame, numbers),
            jitter: Jitter::new(draws, numbers),
            blur: Blur::new(draws, frame.size, numbers),
        }
    }

    /// View 2 (N, 3, H, W) of the first views in the middle of `field` (N, 3, H', W').
    pub(super) fn of(&self, field: &Tensor, frame: Frame, numbers: &DeviceNumbers) -> Tensor {
        let (images, channels, ..) = field.size4().expect("a field is (N, 3, H', W')");
        assert!(images as usize == self.images && channels == 3, "{images} images for {} draws", self.images);
        assert_eq!(frame, self.frame, "the sizes of the first views");
        tch::no_grad(|| {
            let resampled = self.resampling.as_ref().map_or_else(
                || frame.middle(field),
                |resampling| resampling.of(field, frame, self.border, numbers),
            );
            let colored = self.jitter.of(&resampled, numbers);
            let view2 = self.blur.as_ref().map_or(colored.shallow_clone(), |blur| blur.of(&colored, numbers));
            // if every stage was skipped, view 2 still shares its memory with view 1
            if view2.data_ptr() == field.data_ptr() { view2.copy() } else { view2 }
        })
    }
}
