//! Shifted ranges: parameters other than those that a probe was trained on.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::transform::Transform;
use crate::error::{Error, Result};

/// Ranges of a second set of test pairs, each `[low, high]`. A quantity that is not named keeps its range.
/// Translations, crops and flips are not shifted: the largest ones that fit the image are drawn already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shift {
    /// Magnitude of the angle in degrees, with either sign; in [0, 180].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<[f64; 2]>,
    /// Brightness factor; in [0, 10]. Below 1 is darker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<[f64; 2]>,
    /// Contrast factor; in [0, 10].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<[f64; 2]>,
    /// Saturation factor; in [0, 10].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<[f64; 2]>,
    /// Magnitude of the hue shift in turns, with either sign; in [0, 0.5].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hue: Option<[f64; 2]>,
    /// Standard deviation of the blur in pixels; in [0, 50].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<[f64; 2]>,
}

impl Shift {
    /// The named quantities with their ranges and the largest value that they may have.
    fn named(&self) -> impl Iterator<Item = (&'static str, [f64; 2], f64)> {
        let all = [
            ("rotation", self.rotation, 180.0),
            ("brightness", self.brightness, 10.0),
            ("contrast", self.contrast, 10.0),
            ("saturation", self.saturation, 10.0),
            ("hue", self.hue, 0.5),
            ("blur", self.blur, 50.0),
        ];
        all.into_iter().filter_map(|(name, range, largest)| Some((name, range?, largest)))
    }

    /// Checks that there are ranges, and every one of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the key, what was expected and what was found.
    pub fn validate(&self) -> Result<()> {
        if *self == Shift::default() {
            return Err(Error::Invalid(
                "no range: expected at least one, such as rotation = [90, 135]".into(),
            ));
        }
        for (name, [low, high], largest) in self.named() {
            if !(0.0 <= low && low < high && high <= largest) {
                return Err(Error::Invalid(format!(
                    "{name} = [{low}, {high}]: expected [low, high] with 0 <= low < high <= {largest}"
                )));
            }
        }
        Ok(())
    }

    /// Whether a quantity of `transform` has another range.
    pub fn shifts(&self, transform: Transform) -> bool {
        match transform {
            Transform::Rotation => self.rotation.is_some(),
            Transform::Color => {
                [self.brightness, self.contrast, self.saturation, self.hue].iter().any(Option::is_some)
            }
            Transform::Blur => self.blur.is_some(),
            Transform::Translation | Transform::Crop | Transform::Flip => false,
        }
    }

    /// The transforms that have another range.
    pub fn transforms(&self) -> impl Iterator<Item = Transform> {
        Transform::ALL.into_iter().filter(|transform| self.shifts(*transform))
    }

    /// Takes over what `other` names.
    pub fn merge(self, other: Shift) -> Shift {
        Shift {
            rotation: other.rotation.or(self.rotation),
            brightness: other.brightness.or(self.brightness),
            contrast: other.contrast.or(self.contrast),
            saturation: other.saturation.or(self.saturation),
            hue: other.hue.or(self.hue),
            blur: other.blur.or(self.blur),
        }
    }
}

impl FromStr for Shift {
    type Err = Error;

    /// One range, such as `rotation=90..135`.
    fn from_str(text: &str) -> Result<Shift> {
        let wrong = || {
            Error::Invalid(format!(
                "`{text}`: expected a quantity and its range, such as rotation=90..135; the quantities are rotation, \
                 brightness, contrast, saturation, hue, blur"
            ))
        };
        let (name, range) = text.split_once('=').ok_or_else(wrong)?;
        let (low, high) = range.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
        let range = Some([number(low)?, number(high)?]);
        let mut shift = Shift::default();
        *match name.trim() {
            "rotation" => &mut shift.rotation,
            "brightness" => &mut shift.brightness,
            "contrast" => &mut shift.contrast,
            "saturation" => &mut shift.saturation,
            "hue" => &mut shift.hue,
            "blur" => &mut shift.blur,
            _ => return Err(wrong()),
        } = range;
        shift.validate()?;
        Ok(shift)
    }
}
