//! Pixels beyond the border of an image.

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use super::transform::Transform;

/// What view 2 shows where it reaches beyond its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// The source mirrored at its edges. Nothing reveals rotation or translation.
    #[default]
    Reflection,
    /// Black.
    Zeros,
    /// The source itself. View 1 is a window in the middle of the base view. The window is as large as
    /// possible, such that view 2 stays inside the base view ([`Border::reach`]). Parameters are relative to
    /// the window, and no border is visible; only blur still mirrors view 2 at its own border, by its
    /// definition. With all transforms at their default ranges, the side of the window is 0.47 of the base
    /// view's side.
    Window,
}

impl Border {
    /// How far view 2 may reach from the centre of view 1, in units of half the side of view 1, if `active`
    /// are drawn from `ranges`. The field around view 1 must be this many times wider than view 1. 1 for
    /// borders that need no field.
    ///
    /// A shift by t of the side moves the edge of view 2 to 1 + 2 t. A rotation by a then moves its corner to
    /// (1 + 2 t) (cos a + sin a), which is largest at 45 degrees. A flip, and a crop, which is inside view 1,
    /// do not reach farther.
    pub fn reach(self, active: &[Transform], ranges: &Ranges) -> f64 {
        if self != Border::Window {
            return 1.0;
        }
        let range = |transform: Transform, range: f64| if active.contains(&transform) { range } else { 0.0 };
        let (sin, cos) = range(Transform::Rotation, ranges.rotation).min(45.0).to_radians().sin_cos();
        (1.0 + 2.0 * range(Transform::Translation, ranges.translation)) * (cos + sin)
    }

    /// The number of grid_sampler's padding mode in libtorch. Its reflection (without align_corners) mirrors
    /// at the outer edges of the border pixels.
    pub(super) const fn padding_mode(self) -> i64 {
        match self {
            Border::Zeros => 0,
            // with a field, view 2 stays inside it; without one, a window is reflected
            Border::Reflection | Border::Window => 2,
        }
    }
}
