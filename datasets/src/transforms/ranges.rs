//! The ranges of the parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The ranges from which parameters are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ranges {
    /// Angle in degrees: U(-rotation, rotation); in (0, 180].
    pub rotation: f64,
    /// Shift along each axis as a fraction of the side: U(-translation, translation); in (0, 1].
    pub translation: f64,
    /// Minimum area of a crop as a fraction of the image; in (0, 1].
    pub crop_scale_min: f64,
    /// Minimum width / height of a crop; positive.
    pub crop_ratio_min: f64,
    /// Maximum width / height of a crop.
    pub crop_ratio_max: f64,
    /// Probability of a flip; in [0, 1].
    pub flip_p: f64,
    /// Brightness factor: U(1 - brightness, 1 + brightness); in (0, 1].
    pub brightness: f64,
    /// Contrast factor: U(1 - contrast, 1 + contrast); in (0, 1].
    pub contrast: f64,
    /// Saturation factor: U(1 - saturation, 1 + saturation); in (0, 1].
    pub saturation: f64,
    /// Hue shift in turns: U(-hue, hue); in (0, 0.5].
    pub hue: f64,
    /// Minimum standard deviation of the blur in pixels; not negative.
    pub blur_min: f64,
    /// Maximum standard deviation of the blur in pixels; above `blur_min`, at most 50.
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
    /// [`Error::Invalid`] with the key, the allowed values and the value found.
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

/// Returns an [`Error::Invalid`] about `key` unless `valid` is true.
fn require(valid: bool, key: &str, expected: &str, found: f64) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::Invalid(format!("{key} must be {expected}, but is {found}"))) }
}
