//! The latents of one view.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, TAU};

use glam::{Mat3, Vec3};
use rand::Rng;

use crate::scene_latents::LATENTS;

/// Distance of the spot light from the origin.
pub(super) const LIGHT_DISTANCE: f32 = 4.0;

/// The parameters of a view, in 3DIEBench's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latents {
    /// Rotation angles about the fixed x, y and z axes, applied in this order (extrinsic xyz), in radians;
    /// drawn from U(-pi/2, pi/2).
    pub angles: [f32; 3],
    /// Hue of the floor in turns, U(0, 1); its colour is hsv(hue, 0.6, 0.6).
    pub floor_hue: f32,
    /// Angle of the spot light from the zenith, radians, U(0, pi/4).
    pub light_theta: f32,
    /// Azimuth of the spot light from +x towards +y, radians, U(0, 2 pi).
    pub light_phi: f32,
    /// Hue of the spot light in turns, U(0, 1); its colour is hsv(hue, 1, 0.8).
    pub light_hue: f32,
}

impl Latents {
    /// Draws all values from 3DIEBench's distributions.
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self {
            angles: [(); 3].map(|()| rng.gen_range(-FRAC_PI_2..FRAC_PI_2)),
            floor_hue: rng.gen_range(0.0..1.0),
            light_theta: rng.gen_range(0.0..FRAC_PI_4),
            light_phi: rng.gen_range(0.0..TAU),
            light_hue: rng.gen_range(0.0..1.0),
        }
    }

    /// The seven latents in 3DIEBench's order.
    pub fn to_array(self) -> [f32; LATENTS] {
        let [x, y, z] = self.angles;
        [x, y, z, self.floor_hue, self.light_theta, self.light_phi, self.light_hue]
    }

    /// R = Rz * Ry * Rx, the rotation from object to world coordinates.
    pub fn rotation(&self) -> Mat3 {
        let [x, y, z] = self.angles;
        Mat3::from_rotation_z(z) * Mat3::from_rotation_y(y) * Mat3::from_rotation_x(x)
    }

    /// Position of the spot light in world coordinates.
    pub fn light_position(&self) -> Vec3 {
        let (sin_theta, cos_theta) = self.light_theta.sin_cos();
        let (sin_phi, cos_phi) = self.light_phi.sin_cos();
        Vec3::new(sin_theta * cos_phi, sin_theta * sin_phi, cos_theta) * LIGHT_DISTANCE
    }
}

impl From<[f32; LATENTS]> for Latents {
    fn from([x, y, z, floor_hue, light_theta, light_phi, light_hue]: [f32; LATENTS]) -> Self {
        Self { angles: [x, y, z], floor_hue, light_theta, light_phi, light_hue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Purpose, rng};

    #[test]
    fn latents_keep_3diebenchs_order_ranges_and_means() {
        let bounds = [
            (-FRAC_PI_2, FRAC_PI_2),
            (-FRAC_PI_2, FRAC_PI_2),
            (-FRAC_PI_2, FRAC_PI_2),
            (0.0, 1.0),
            (0.0, FRAC_PI_4),
            (0.0, TAU),
            (0.0, 1.0),
        ];
        let draws: Vec<_> =
            (0..4000).map(|view| Latents::draw(&mut rng(3, view, 0, Purpose::Latents)).to_array()).collect();
        for (column, (low, high)) in bounds.into_iter().enumerate() {
            let values = || draws.iter().map(|draw| (draw[column] - low) / (high - low));
            assert!(values().all(|u| (0.0..=1.0).contains(&u)));
            let mean = values().sum::<f32>() / draws.len() as f32;
            let variance = values().map(|u| (u - mean).powi(2)).sum::<f32>() / draws.len() as f32;
            assert!((mean - 0.5).abs() < 0.02, "latent {column}: mean {mean}");
            assert!((variance - 1.0 / 12.0).abs() < 0.005, "latent {column}: variance {variance}");
        }
        assert_eq!(Latents::from(draws[0]).to_array(), draws[0]);
    }

    #[test]
    fn the_rotation_is_about_fixed_x_then_y_then_z() {
        let quarter = |angles| Latents { angles, ..Latents::from([0.0; LATENTS]) }.rotation();
        let x_then_z = quarter([FRAC_PI_2, 0.0, FRAC_PI_2]);
        // the rotation about x moves y to z, and z to -y; then the rotation about z keeps z and moves -y to x
        assert!((x_then_z * Vec3::Y - Vec3::Z).length() < 1e-6);
        assert!((x_then_z * Vec3::Z - Vec3::X).length() < 1e-6);
        let y_then_z = quarter([0.0, FRAC_PI_2, FRAC_PI_2]);
        assert!((y_then_z * Vec3::Z - Vec3::Y).length() < 1e-6);
    }
}
