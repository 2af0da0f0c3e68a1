//! Colours by hue, saturation and value.

use glam::Vec3;

/// Converts hue (turns, modulo 1), saturation and value (both in [0, 1]) to a linear RGB colour.
pub fn hsv(hue: f32, saturation: f32, value: f32) -> Vec3 {
    let channel = |offset: f32| {
        let k = (offset + hue.rem_euclid(1.0) * 6.0) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    Vec3::new(channel(5.0), channel(3.0), channel(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsv_has_the_primaries_at_thirds_of_a_turn() {
        assert_eq!(hsv(0.0, 1.0, 1.0), Vec3::X);
        assert!((hsv(1.0 / 3.0, 1.0, 1.0) - Vec3::Y).length() < 1e-5);
        assert!((hsv(2.0 / 3.0, 1.0, 0.8) - Vec3::Z * 0.8).length() < 1e-5);
        assert!((hsv(0.0, 0.6, 0.6) - Vec3::new(0.6, 0.24, 0.24)).length() < 1e-6);
        assert!((hsv(1.0 / 6.0, 1.0, 1.0) - Vec3::new(1.0, 1.0, 0.0)).length() < 1e-5);
    }
}
