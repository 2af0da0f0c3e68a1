//! The surface of objects.

use glam::Vec3;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reflectance of the object, a neutral light grey.
const ALBEDO: f32 = 0.74;

/// The reflectance of an object's surface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Paint {
    /// Uniform light grey: only shape and shading show the pose.
    #[default]
    Plain,
    /// Red, green and blue reflectance increase along the object's x, y and z axes. The pose can then be
    /// learned even at low resolution and in a short training.
    Axes,
}

impl Paint {
    /// Diffuse reflectance at a point with a unit normal, both in object coordinates; RGB in [0, 1].
    pub(super) fn reflectance(self, position: Vec3, normal: Vec3) -> Vec3 {
        match self {
            Paint::Plain => Vec3::splat(ALBEDO),
            // the normal gives the two sides of a thin part different colours
            Paint::Axes => {
                let along = (Vec3::splat(0.5) + position + normal * 0.25).clamp(Vec3::ZERO, Vec3::ONE);
                along * along * (Vec3::splat(3.0) - along * 2.0) * 0.84 + Vec3::splat(0.08)
            }
        }
    }
}
