//! Transforms of photographs whose parameters are known exactly.
//!
//! Sampling, application and parameter vector live side by side: [`Draws::sample`] draws, [`FirstView::transformed`]
//! carries out and [`Draws::target`] writes down what was done, so that they cannot drift apart. Everything is a batched tensor
//! operation on the device and in the floating-point kind of its input; images are (N, 3, H, W) in [0, 1].

mod affine;
mod base_view;
mod blur;
mod color;
mod draws;
mod first_view;
mod from_map;
mod separable;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};

pub use base_view::{PixelBox, base_view, field_side, resized_crop};
pub use draws::{Crop, Draw, Draws};
pub use first_view::FirstView;

/// A transformation of a photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// About the centre; counter-clockwise as seen is positive.
    Rotation,
    /// Content moves right (dx > 0) and down (dy > 0).
    Translation,
    /// A box of the image is resized to the whole.
    Crop,
    /// Left and right change places.
    Flip,
    /// Brightness, contrast, saturation and hue, in this order.
    Color,
    /// Gaussian.
    Blur,
}

impl Transform {
    /// Every transform, in the order in which tables name them.
    pub const ALL: [Transform; 6] = [
        Transform::Rotation,
        Transform::Translation,
        Transform::Crop,
        Transform::Flip,
        Transform::Color,
        Transform::Blur,
    ];

    /// Length of the parameter vector.
    pub const fn dim(self) -> usize {
        match self {
            Transform::Rotation | Transform::Flip | Transform::Blur => 1,
            Transform::Translation => 2,
            Transform::Crop | Transform::Color => 4,
        }
    }

    /// Name in suite files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Transform::Rotation => "rotation",
            Transform::Translation => "translation",
            Transform::Crop => "crop",
            Transform::Flip => "flip",
            Transform::Color => "color",
            Transform::Blur => "blur",
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transform {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Transform::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
            let known = Transform::ALL.map(Transform::name).join(", ");
            Error::Invalid(format!("unknown transform `{name}`: expected one of {known}"))
        })
    }
}

/// What stands where a transformed image reaches beyond its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// The source mirrored about its edges. Nothing gives rotation or translation away.
    #[default]
    Reflection,
    /// Black.
    Zeros,
    /// The source itself: view 1 is a window in the middle of the base view, of the largest side that keeps everything
    /// that view 2 may show inside the base view ([`Border::reach`]). Parameters are relative to the window, and no
    /// border shows; blur alone still mirrors view 2 about its own border, by its definition. With all transforms at
    /// their default ranges the window has 0.47 of the base view's side.
    Window,
}

/// From what ranges the parameters are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ranges {
    /// Angle, degrees: U(-rotation, rotation); in (0, 180].
    pub rotation: f64,
    /// Shift along each axis as a fraction of the side: U(-translation, translation); in (0, 1].
    pub translation: f64,
    /// Smallest area of a crop as a fraction of the image; in (0, 1].
    pub crop_scale_min: f64,
    /// Smallest width / height of a crop; positive.
    pub crop_ratio_min: f64,
    /// Largest width / height of a crop.
    pub crop_ratio_max: f64,
    /// Probability of a flip; in [0, 1].
    pub flip_p: f64,
    /// Brightness factor: U(1 - brightness, 1 + brightness); in (0, 1].
    pub brightness: f64,
    /// Contrast factor, likewise.
    pub contrast: f64,
    /// Saturation factor, likewise.
    pub saturation: f64,
    /// Hue shift in turns: U(-hue, hue); in (0, 0.5].
    pub hue: f64,
    /// Smallest standard deviation of the blur in pixels; not negative.
    pub blur_min: f64,
    /// Largest standard deviation of the blur in pixels; above `blur_min`, at most 50.
    pub blur_max: f64,
}

impl Default for Ranges {
    fn default() -> Self {
        Ranges {
            rotation: 90.0,
            translation: 0.25,
            crop_scale_min: 0.2,
            crop_ratio_min: 3.0 / 4.0,
            crop_ratio_max: 4.0 / 3.0,
            flip_p: 0.5,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            blur_min: 0.1,
            blur_max: 2.0,
        }
    }
}

impl Ranges {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the key, what it may be and what it is.
    pub fn validate(&self) -> Result<()> {
        let up_to = |key: &str, value: f64, largest: f64| {
            require(value > 0.0 && value <= largest, key, &format!("above 0 and at most {largest}"), value)
        };
        up_to("rotation", self.rotation, 180.0)?;
        up_to("translation", self.translation, 1.0)?;
        up_to("crop_scale_min", self.crop_scale_min, 1.0)?;
        up_to("brightness", self.brightness, 1.0)?;
        up_to("contrast", self.contrast, 1.0)?;
        up_to("saturation", self.saturation, 1.0)?;
        up_to("hue", self.hue, 0.5)?;
        up_to("crop_ratio_max", self.crop_ratio_max, 100.0)?;
        up_to("crop_ratio_min", self.crop_ratio_min, self.crop_ratio_max)?;
        require((0.0..=1.0).contains(&self.flip_p), "flip_p", "in [0, 1]", self.flip_p)?;
        up_to("blur_max", self.blur_max, 50.0)?;
        let below = self.blur_min >= 0.0 && self.blur_min < self.blur_max;
        require(below, "blur_min", &format!("in [0, {}), below blur_max", self.blur_max), self.blur_min)
    }
}

/// An [`Error::Invalid`] about `key` unless `fine`.
fn require(fine: bool, key: &str, expected: &str, found: f64) -> Result<()> {
    if fine { Ok(()) } else { Err(Error::Invalid(format!("{key} must be {expected}, and is {found}"))) }
}

/// View 2 of `view1` (N, 3, H, W) alone, as [`FirstView::transformed`]. A window has no surroundings here: where view 2
/// leaves view 1 it shows its reflection.
pub fn apply(view1: &Tensor, draws: &Draws, border: Border) -> Tensor {
    FirstView::alone(view1).transformed(draws, border)
}

/// The two views of a batch of photographs and what leads from the first to the second.
///
/// `images` (N, 3, H, W), uint8 or floats in [0, 1]; `keys` their N indices in the data set. The transforms of `active`
/// are drawn all at once; the others are at their identity.
pub fn photo_pair(
    images: &Tensor,
    keys: &[u64],
    seed: u64,
    epoch: u64,
    active: &[Transform],
    ranges: &Ranges,
    border: Border,
) -> (Tensor, Tensor, Draws) {
    let draws = Draws::sample(keys, seed, epoch, active, ranges);
    let view1 = base_view(images, keys, seed, epoch, border.reach(active, ranges));
    let view2 = view1.transformed(&draws, border);
    (view1.pixels(), view2, draws)
}
