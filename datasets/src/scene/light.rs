//! The lights: a white sky and sun, and a coloured spot light.

use glam::Vec3;

use super::latents::LIGHT_DISTANCE;

/// Ambient white light, which reaches every point from all sides.
pub(super) const AMBIENT: f32 = 0.19;
/// White light of the sun on a surface that faces it.
pub(super) const SUN: f32 = 0.33;
/// Tangent of half the field of view of the shadow map. The half angle is just above asin(0.866 / 4), where
/// 0.866 is half the diagonal of the unit box.
pub(super) const SHADOW_TANGENT: f32 = 0.226;
/// Cosines of the angles at which the light cone (half angle pi/16) ends and at which it has full strength.
const CONE: (f32, f32) = (0.9808, 0.9852);
/// Strength of the spot light at its nominal distance on a surface that faces it.
const SPOT: f32 = 1.1;

/// The spot light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub position: Vec3,
    pub colour: Vec3,
}

impl Spot {
    /// Light from the spot light at a point, with cone and distance but without shadow.
    ///
    /// `ray` goes from the light to the point and has this `length`; `aim` is the unit vector to the origin.
    pub fn strength(ray: Vec3, length: f32, aim: Vec3) -> f32 {
        let edge = ((ray.dot(aim) / length - CONE.0) / (CONE.1 - CONE.0)).clamp(0.0, 1.0);
        let distance = LIGHT_DISTANCE / length;
        SPOT * edge * edge * (3.0 - 2.0 * edge) * distance * distance
    }
}
