//! Pixels beyond the border of an image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use super::transform::Transform;

/// What view 2 shows where it extends beyond view 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// View 1, mirrored at its edges. No visible border reveals the rotation or translation.
    #[default]
    Reflection,
    /// Black.
    Zeros,
    /// The real surroundings. View 1 is a window in the middle of the base view. The window is as large as
    /// possible such that view 2 stays inside the base view ([`Border::reach`]). Parameters are relative to
    /// the window, and no border is visible; only the blur, by its definition, mirrors view 2 at its own
    /// border. With all transforms at their default ranges, the side of the window is 0.47 of the base view's
    /// side.
    Window,
}

impl Border {
    /// How far view 2 may extend from the centre of view 1, in units of half the side of view 1, if `active`
    /// transforms are drawn from `ranges`. The field around view 1 must be this many times wider than view 1.
    /// The result is 1 for borders that need no field.
    ///
    /// A shift by t of the side moves the edge of view 2 to 1 + 2 t. A rotation by a then moves its corner to
    /// (1 + 2 t) (cos a + sin a), which is largest at 45 degrees. Flips do not extend farther, and neither do
    /// crops, which are inside view 1.
    pub fn reach(self, active: &[Transform], ranges: &Ranges) -> f64 {
        if self != Border::Window {
            return 1.0;
        }
        let range = |transform: Transform, range: f64| if active.contains(&transform) { range } else { 0.0 };
        let (sin, cos) = range(Transform::Rotation, ranges.rotation).min(45.0).to_radians().sin_cos();
        (1.0 + 2.0 * range(Transform::Translation, ranges.translation)) * (cos + sin)
    }

    /// libtorch's number for the padding mode of grid_sampler. Its reflection (without align_corners) mirrors
    /// at the outer edges of the border pixels.
    pub(super) const fn padding_mode(self) -> i64 {
        match self {
            Border::Zeros => 0,
            // with a field, view 2 stays inside it; without a field, a window is treated like a reflection
            Border::Reflection | Border::Window => 2,
        }
    }
}
