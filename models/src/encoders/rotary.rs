//! Rotary positions of a token map (DINOv3, Siméoni et al. 2025; after Su et al. 2021): queries and keys of
//! the patch tokens are rotated by angles that grow with the row and the column.

use tch::{Device, Kind, Tensor};

/// Cosines and sines of the angles, both (T, depth) for the T patches of a square map.
pub(super) struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Angles 2π c / base^(4 i / depth) of the patch centres c in [-1, 1], for i < depth / 4: first those of
    /// the row, then those of the column, then both again. `depth` is the width of a head.
    pub fn new(grid: i64, depth: i64, base: f64, device: Device) -> Rotary {
        let float = (Kind::Float, device);
        let centres = (Tensor::arange(grid, float) + 0.5) / grid as f64 * 2.0 - 1.0;
        let rows = centres.view([grid, 1]).expand([grid, grid], false).reshape([-1, 1]);
        let columns = centres.view([1, grid]).expand([grid, grid], false).reshape([-1, 1]);
        let exponents = Tensor::arange(depth / 4, float) * (4.0 / depth as f64);
        let frequencies = (exponents * -base.ln()).exp() * std::f64::consts::TAU;
        let half = Tensor::cat(&[rows * &frequencies, columns * &frequencies], 1); // (T, depth / 2)
        let angles = Tensor::cat(&[&half, &half], 1);
        Rotary { cos: angles.cos(), sin: angles.sin() }
    }

    /// Rotates the last T of the tokens (B, P + T, dim) in each of `heads` heads.
    pub fn rotate(&self, x: &Tensor, heads: i64) -> Tensor {
        let (batch, tokens, dim) = x.size3().expect("tokens are (B, P + T, dim)");
        let patches = self.cos.size()[0];
        let before = x.narrow(1, 0, tokens - patches);
        let x = x.narrow(1, tokens - patches, patches).reshape([batch, patches, heads, dim / heads]);
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
        let rotated = x * self.cos.unsqueeze(1) + turned * self.sin.unsqueeze(1);
        Tensor::cat(&[before, rotated.reshape([batch, patches, dim])], 1)
    }
}
