//! A learned position embedding on another token map.

use tch::Tensor;

use crate::error::{Error, Result};

/// The position embedding (1, 1 + T, dim) of a square token map with one class token in front, interpolated (bicubic, not antialiased, as
/// torch's `interpolate`) to a `grid` x `grid` map: (1, 1 + grid^2, dim). The class token's stays. At the same grid nothing changes.
///
/// # Errors
/// [`Error::Mismatch`] for a shape that is no such embedding, [`Error::Invalid`] for a grid below 1.
pub fn resize_positions(positions: &Tensor, grid: i64) -> Result<Tensor> {
    let &[1, rows, dim] = positions.size().as_slice() else {
        let found = positions.size();
        return Err(Error::Mismatch(format!("pos_embed: expected (1, 1 + tokens, width), found {found:?}")));
    };
    let side = (rows.max(1) as u64 - 1).isqrt() as i64;
    if side < 1 || side * side != rows - 1 || dim < 1 {
        let expected = "a class token and a square map of tokens";
        return Err(Error::Mismatch(format!("pos_embed: {rows} positions of width {dim} are not {expected}")));
    }
    if grid < 1 {
        return Err(Error::Invalid(format!("a token map of side {grid}: must be at least 1")));
    }
    if side == grid {
        return Ok(positions.copy());
    }
    let map = positions.narrow(1, 1, side * side).view([1, side, side, dim]).permute([0, 3, 1, 2]);
    let map = map.f_upsample_bicubic2d([grid, grid], false, None, None)?;
    let map = map.permute([0, 2, 3, 1]).reshape([1, grid * grid, dim]);
    Ok(Tensor::cat(&[positions.narrow(1, 0, 1), map], 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn embedding(side: i64, dim: i64) -> Tensor {
        (Tensor::arange((1 + side * side) * dim, (Kind::Float, Device::Cpu)) * 0.37).sin().view([1, -1, dim])
    }

    #[test]
    fn the_same_grid_changes_nothing() {
        assert_eq!(resize_positions(&embedding(5, 3), 5).unwrap(), embedding(5, 3));
    }

    #[test]
    fn another_grid_keeps_the_class_token_and_a_constant_map() {
        let positions = embedding(4, 6);
        let _ = positions.narrow(1, 1, 16).fill_(0.75);
        for grid in [1, 2, 3, 7, 14] {
            let resized = resize_positions(&positions, grid).unwrap();
            assert_eq!(resized.size(), [1, 1 + grid * grid, 6]);
            assert_eq!(resized.narrow(1, 0, 1), positions.narrow(1, 0, 1));
            let off = f64::try_from((resized.narrow(1, 1, grid * grid) - 0.75).abs().max()).unwrap();
            assert!(off < 1e-6, "{grid}: {off}");
        }
    }

    #[test]
    fn a_ramp_along_the_columns_stays_one() {
        let ramp: Vec<f32> = (0..37).map(|i| if i == 0 { 9.0 } else { ((i - 1) % 6) as f32 }).collect();
        let resized = resize_positions(&Tensor::from_slice(&ramp).view([1, 37, 1]), 12).unwrap();
        let rows = Vec::<f32>::try_from(resized.narrow(1, 1, 144).view([-1])).unwrap();
        assert!(rows.chunks(12).all(|row| row == &rows[..12]), "every row is the same");
        assert!(rows[..12].windows(2).all(|pair| pair[0] < pair[1]), "{:?}", &rows[..12]);
    }

    #[test]
    fn what_is_no_position_embedding_is_refused() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        for shape in [&[17, 4][..], &[2, 17, 4], &[1, 16, 4], &[1, 1, 4], &[1, 0, 4], &[1, 17, 0]] {
            assert!(matches!(resize_positions(&zeros(shape), 3), Err(Error::Mismatch(_))), "{shape:?}");
        }
        assert!(resize_positions(&zeros(&[1, 17, 4]), 0).is_err());
    }
}
