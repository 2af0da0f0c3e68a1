//! Normalisation of pixels before they enter an encoder.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// Mean and standard deviation of each channel, for pixels in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, above 0.
    pub std: [f32; 3],
}

impl Normalisation {
    /// The ImageNet statistics, which torchvision's and most of timm's encoders use.
    pub const IMAGENET: Normalisation =
        Normalisation { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Normalises pixels (.., 3, H, W) in [0, 1] to mean 0 and standard deviation 1 per channel.
    pub fn apply(&self, pixels: &Tensor) -> Tensor {
        (pixels - channel_wise(&self.mean, pixels.device())) / channel_wise(&self.std, pixels.device())
    }

    /// The inverse of [`Normalisation::apply`].
    pub fn undo(&self, images: &Tensor) -> Tensor {
        images * channel_wise(&self.std, images.device()) + channel_wise(&self.mean, images.device())
    }
}

fn channel_wise(values: &[f32; 3], device: Device) -> Tensor {
    Tensor::from_slice(values).view([3, 1, 1]).to_device(device)
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f32; 3]| values.map(|value| value.to_string()).join(",");
        write!(f, "mean {} std {}", list(&self.mean), list(&self.std))
    }
}
