//! Position embeddings of a square token map.

use std::cell::RefCell;

use tch::{Kind, Tensor};

/// Sine-cosine positions of a `grid` x `grid` token map, row by row: grid² · dim values, dim divisible by 4.
/// As in MAE, the first half of a token encodes the column and the second half encodes the row.
pub fn sine_cosine(grid: i64, dim: i64) -> Vec<f64> {
    let quarter = dim / 4;
    let frequency = |i: i64| 1.0 / 10_000f64.powf(i as f64 / quarter as f64);
    let mut values = Vec::with_capacity((grid * grid * dim) as usize);
    for row in 0..grid {
        for column in 0..grid {
            for place in [column, row] {
                values.extend((0..quarter).map(|i| (place as f64 * frequency(i)).sin()));
                values.extend((0..quarter).map(|i| (place as f64 * frequency(i)).cos()));
            }
        }
    }
    values
}

/// The sine-cosine positions of a token map as tensors. Each is made at its first use and kept, because its
/// copy to a device makes the device wait for the host.
#[derive(Debug)]
pub(crate) struct SineCosineMap {
    grid: i64,
    dim: i64,
    /// For every kind and device that has been asked for.
    made: RefCell<Vec<Tensor>>,
}

impl SineCosineMap {
    /// Positions of a `grid` x `grid` map of width `dim`, divisible by 4.
    pub(crate) fn new(grid: i64, dim: i64) -> SineCosineMap {
        SineCosineMap { grid, dim, made: RefCell::default() }
    }

    /// (1, grid², dim) of the kind and on the device of `like`.
    pub(crate) fn like(&self, like: &Tensor) -> Tensor {
        let fits = |map: &&Tensor| (map.kind(), map.device()) == (like.kind(), like.device());
        let mut made = self.made.borrow_mut();
        if let Some(map) = made.iter().find(fits) {
            return map.shallow_clone();
        }
        let values = Tensor::from_slice(&sine_cosine(self.grid, self.dim));
        let map =
            values.view([1, self.grid * self.grid, self.dim]).to_kind(like.kind()).to_device(like.device());
        made.push(map.shallow_clone());
        map
    }
}

/// Resizes the learned position embedding (1, 1 + g², dim) of a class token and a square token map to a
/// `grid` x `grid` map: (1, 1 + grid², dim). The class token's embedding is kept. The others are interpolated
/// (bicubic, antialiased) as in timm's `resample_abs_pos_embed`. A tensor of any other shape is returned
/// unchanged, so that the caller can reject it.
pub fn resized(positions: &Tensor, grid: i64, dim: i64) -> Tensor {
    let unchanged = || positions.shallow_clone();
    let Ok((1, tokens, width)) = positions.size3() else { return unchanged() };
    let side = ((tokens - 1).max(0) as f64).sqrt().round() as i64;
    if side < 1 || side * side != tokens - 1 || side == grid || width != dim {
        return unchanged();
    }
    let map = resized_map(&positions.narrow(1, 1, tokens - 1), grid);
    Tensor::cat(&[&positions.narrow(1, 0, 1).to_kind(Kind::Float), &map], 1)
}

/// The positions of a square token map (1, g², D), interpolated as in [`resized`]: (1, grid², D), float32.
pub fn resized_map(positions: &Tensor, grid: i64) -> Tensor {
    let (_, tokens, dim) = positions.size3().expect("positions are (1, g², D)");
    let side = (tokens as f64).sqrt().round() as i64;
    let map = positions.to_kind(Kind::Float);
    if side == grid {
        return map;
    }
    let map = map.reshape([1, side, side, dim]).permute([0, 3, 1, 2]).contiguous();
    let map = map.internal_upsample_bicubic2d_aa([grid, grid], false, None, None);
    map.permute([0, 2, 3, 1]).reshape([1, grid * grid, dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_device::test_device::{test_device, test_tensor};

    #[test]
    fn positions_are_made_once_for_each_kind() {
        let map = SineCosineMap::new(3, 8);
        let [float, double] =
            [Kind::Float, Kind::Double].map(|kind| Tensor::zeros([1], (kind, test_device())));
        let made = map.like(&double);
        assert_eq!(made, test_tensor(&sine_cosine(3, 8)).view([1, 9, 8]));
        assert_eq!(map.like(&float), made.to_kind(Kind::Float));
        assert_eq!(map.like(&double).data_ptr(), made.data_ptr());
        assert_eq!(map.made.borrow().len(), 2);
    }

    #[test]
    fn another_grid_keeps_the_class_token_and_a_constant_map() {
        let positions = (Tensor::arange(17 * 6, (Kind::Float, test_device())) * 0.37).sin().view([1, 17, 6]);
        let _ = positions.narrow(1, 1, 16).fill_(0.75);
        for grid in [1, 2, 3, 7, 14] {
            let resized = resized(&positions, grid, 6);
            assert_eq!(resized.size(), [1, 1 + grid * grid, 6]);
            assert_eq!(resized.narrow(1, 0, 1), positions.narrow(1, 0, 1));
            let off = (resized.narrow(1, 1, grid * grid) - 0.75).abs().max().double_value(&[]);
            assert!(off < 1e-6, "{grid}: {off}");
        }
    }

    #[test]
    fn the_same_grid_and_other_tensors_are_left_alone() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, test_device()));
        for shape in
            [&[1, 10, 4][..], &[17, 4], &[2, 17, 4], &[1, 16, 4], &[1, 1, 4], &[1, 0, 4], &[1, 17, 5]]
        {
            assert_eq!(resized(&zeros(shape), 3, 4).size(), shape);
        }
    }
}
