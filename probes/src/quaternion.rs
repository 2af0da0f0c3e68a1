//! Quaternions as regression targets, (N, 4) in the order x, y, z, w.

use tch::{Kind, Tensor};

/// Largest allowed difference of a norm from 1, which leaves room for rounding in float32.
const TOLERANCE: f64 = 1e-3;

/// Whether all rows of `targets` are quaternions with norm 1.
pub fn are_unit(targets: &Tensor) -> bool {
    let size = targets.size();
    if size.len() != 2 || size[1] != 4 {
        return false;
    }
    let off =
        targets.to_kind(Kind::Double).square().sum_dim_intlist(&[1i64][..], false, Kind::Double).sqrt() - 1.0;
    off.abs().max().double_value(&[]) < TOLERANCE
}

/// `q` (N, 4) with the sign of each row chosen so that w >= 0. q and -q are the same rotation, and a probe
/// cannot know which of them was recorded.
pub fn canonical(q: &Tensor) -> Tensor {
    let flip = q.narrow(1, 3, 1).lt(0.0).to_kind(q.kind()) * -2.0 + 1.0;
    q * flip
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_tensor;

    #[test]
    fn the_real_part_becomes_positive_and_the_rotation_stays() {
        let q = test_tensor(&[0.6f32, 0.0, 0.0, -0.8, 0.0, 0.0, 1.0, 0.0]).view([2, 4]);
        assert!(are_unit(&q) && !are_unit(&(&q * 1.1)) && !are_unit(&q.narrow(1, 0, 3)));
        let expected = test_tensor(&[-0.6f32, 0.0, 0.0, 0.8, 0.0, 0.0, 1.0, 0.0]).view([2, 4]);
        assert!(canonical(&q).allclose(&expected, 1e-7, 0.0, false));
    }
}
