//! The difference between two renders of an object: targets for probes, and parameters of SIE's predictor.

use crate::scene_latents::LATENTS;

/// The latents of a render, in the order of [`crate::SceneLatents::latents`].
pub type Latents = [f32; LATENTS];

/// Index of the floor hue among the latents.
const FLOOR_HUE: usize = 3;
/// Index of the light hue among the latents.
const LIGHT_HUE: usize = 6;

/// A rotation as a unit quaternion in scipy's order x, y, z, w.
type Quaternion = [f64; 4];

/// R1^-1 R2 for every pair of rows, as quaternions (x, y, z, w) in row-major order (N x 4). R = Rz Ry Rx is
/// computed from the three angles (scipy's `from_euler("xyz")`).
///
/// The sign is that of the product of half-angle quaternions, as in SIE's code. q and -q describe the same
/// rotation; see [`canonical_quaternions`].
pub fn relative_quaternions(first: &[Latents], second: &[Latents]) -> Vec<f32> {
    assert_eq!(first.len(), second.len(), "one row of latents per view");
    let relative = |(a, b): (&Latents, &Latents)| product(inverse(orientation(a)), orientation(b));
    first.iter().zip(second).flat_map(relative).map(|value| value as f32).collect()
}

/// The same rotations with w >= 0. Of q and -q, this is the one with the smaller angle. `quaternions` is N x
/// 4 in row-major order.
pub fn canonical_quaternions(quaternions: &[f32]) -> Vec<f32> {
    let sign = |q: &[f32]| if q[3] < 0.0 { -1.0 } else { 1.0 };
    quaternions.chunks_exact(4).flat_map(|q| q.iter().map(move |value| sign(q) * value)).collect()
}

/// Differences (second - first) of floor hue and light hue for every pair, in turns, in row-major order (N x
/// 2). They are not wrapped around, as in SIE's code.
pub fn color_difference(first: &[Latents], second: &[Latents]) -> Vec<f32> {
    assert_eq!(first.len(), second.len(), "one row of latents per view");
    let difference =
        |(a, b): (&Latents, &Latents)| [b[FLOOR_HUE] - a[FLOOR_HUE], b[LIGHT_HUE] - a[LIGHT_HUE]];
    first.iter().zip(second).flat_map(difference).collect()
}

/// The rotation of the object: first about x, then y, then z, all of them fixed world axes.
fn orientation(latents: &Latents) -> Quaternion {
    let about = |axis: usize| {
        let (sin, cos) = (f64::from(latents[axis]) / 2.0).sin_cos();
        let mut q = [0.0, 0.0, 0.0, cos];
        q[axis] = sin;
        q
    };
    product(about(2), product(about(1), about(0)))
}

/// The inverse of a unit quaternion.
fn inverse([x, y, z, w]: Quaternion) -> Quaternion {
    [-x, -y, -z, w]
}

/// Hamilton product: the rotation `b` followed by `a`.
fn product([ax, ay, az, aw]: Quaternion, [bx, by, bz, bw]: Quaternion) -> Quaternion {
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Purpose, rng};
    use glam::{DMat3, DQuat};
    use rand::Rng;

    fn latents(angles: [f32; 3]) -> Latents {
        [angles[0], angles[1], angles[2], 0.0, 0.0, 0.0, 0.0]
    }

    fn assert_close(found: &[f32], expected: [f64; 4]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-6, "{found:?} for {expected:?}");
        }
    }

    #[test]
    fn quarter_turns_by_hand() {
        let quarter = std::f32::consts::FRAC_PI_2;
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let none = [latents([0.0; 3])];
        assert_close(&relative_quaternions(&none, &none), [0.0, 0.0, 0.0, 1.0]);
        assert_close(&relative_quaternions(&none, &[latents([0.0, quarter, 0.0])]), [0.0, half, 0.0, half]);
        // first about x, then about the world's z axis: the unit vector y moves to z and stays there
        assert_close(&relative_quaternions(&none, &[latents([quarter, 0.0, quarter])]), [0.5, 0.5, 0.5, 0.5]);
        // from a rotation about x to no rotation: the inverse rotation
        assert_close(&relative_quaternions(&[latents([quarter, 0.0, 0.0])], &none), [-half, 0.0, 0.0, half]);
    }

    #[test]
    fn quaternions_agree_with_rotation_matrices() {
        let mut rng = rng(1, 0, 0, Purpose::Latents);
        for _ in 0..100 {
            let mut angles = || [0; 3].map(|_| rng.gen_range(-1.57..1.57f32));
            let (a, b) = (angles(), angles());
            let matrix = |[x, y, z]: [f32; 3]| {
                DMat3::from_rotation_z(z.into())
                    * DMat3::from_rotation_y(y.into())
                    * DMat3::from_rotation_x(x.into())
            };
            let expected = matrix(a).transpose() * matrix(b);
            let q: Vec<f64> =
                relative_quaternions(&[latents(a)], &[latents(b)]).into_iter().map(f64::from).collect();
            let found = DMat3::from_quat(DQuat::from_xyzw(q[0], q[1], q[2], q[3]).normalize());
            assert!(found.abs_diff_eq(expected, 1e-6), "{a:?} {b:?}");
        }
    }

    #[test]
    fn canonical_flips_the_whole_row_and_only_where_w_is_negative() {
        assert_eq!(
            canonical_quaternions(&[0.5, -0.5, 0.5, -0.5, 0.5, -0.5, -0.5, 0.5]),
            [-0.5, 0.5, -0.5, 0.5, 0.5, -0.5, -0.5, 0.5]
        );
    }

    #[test]
    fn hue_differences_are_second_minus_first_and_not_unwrapped() {
        let a = [0.0, 0.0, 0.0, 0.9, 1.0, 2.0, 0.2];
        let b = [0.0, 0.0, 0.0, 0.1, 1.0, 2.0, 0.5];
        let found = color_difference(&[a], &[b]);
        assert!((found[0] + 0.8).abs() < 1e-6 && (found[1] - 0.3).abs() < 1e-6, "{found:?}");
    }
}
