//! Normalisation of pixels before they enter an encoder.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

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

/// The values (3, 1, 1), written by the device itself: a copy from the host would make it wait.
fn channel_wise(values: &[f32; 3], device: Device) -> Tensor {
    let channels = Tensor::empty([3, 1, 1], (Kind::Float, device));
    for (channel, &value) in (0..).zip(values) {
        let _ = channels.get(channel).fill_(f64::from(value));
    }
    channels
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f32; 3]| values.map(|value| value.to_string()).join(",");
        write!(f, "mean {} std {}", list(&self.mean), list(&self.std))
    }
}
