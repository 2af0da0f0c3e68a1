//! The random box of view 1.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

/// Minimum area of the crop, as a fraction of the image.
const SMALLEST_AREA: f64 = 0.5;
/// Minimum and maximum width / height of the crop.
const RATIOS: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// Number of attempts to place a crop. After that, the largest box in the middle with an allowed ratio is
/// used, as in torchvision.
const ATTEMPTS: usize = 10;

/// A box in whole pixels, and whether it is flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelBox {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Whether left and right are swapped.
    pub flip: bool,
}

impl PixelBox {
    /// torchvision's RandomResizedCrop (scale 0.5 to 1, ratio 3/4 to 4/3) and a flip with probability 1/2.
    pub(crate) fn draw(rng: &mut Pcg64Mcg, height: usize, width: usize) -> PixelBox {
        let flip = rng.r#gen();
        for _ in 0..ATTEMPTS {
            let area = (height * width) as f64 * rng.gen_range(SMALLEST_AREA..1.0);
            let ratio = rng.gen_range(RATIOS.0.ln()..RATIOS.1.ln()).exp();
            let wide = (area * ratio).sqrt().round() as usize;
            let high = (area / ratio).sqrt().round() as usize;
            if (1..=width).contains(&wide) && (1..=height).contains(&high) {
                let top = rng.gen_range(0..=height - high);
                let left = rng.gen_range(0..=width - wide);
                return PixelBox { top, left, height: high, width: wide, flip };
            }
        }
        PixelBox { flip, ..PixelBox::middle(height, width) }
    }

    /// The largest box in the middle of an image whose width / height is allowed.
    fn middle(height: usize, width: usize) -> PixelBox {
        let ratio = (width as f64 / height as f64).clamp(RATIOS.0, RATIOS.1);
        let wide = ((height as f64 * ratio).round() as usize).clamp(1, width);
        let high = ((width as f64 / ratio).round() as usize).clamp(1, height);
        let (top, left) = ((height - high) / 2, (width - wide) / 2);
        PixelBox { top, left, height: high, width: wide, flip: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Purpose, rng};

    /// torchvision's fallback: 3:4 of a tall image, 4:3 of a wide one, all of one between them.
    #[test]
    fn the_middle_keeps_an_allowed_ratio() {
        let sides = |height, width| {
            let PixelBox { top, left, height, width, .. } = PixelBox::middle(height, width);
            [top, left, height, width]
        };
        assert_eq!(sides(100, 1000), [0, 433, 100, 133]);
        assert_eq!(sides(1000, 100), [433, 0, 133, 100]);
        assert_eq!(sides(120, 100), [0, 0, 120, 100]);
        assert_eq!(sides(1, 50), [0, 24, 1, 1]);
    }

    /// No box of half the area fits into a strip: every draw is the middle.
    #[test]
    fn strips_are_cropped_to_four_thirds() {
        for seed in 0..20 {
            let found = PixelBox::draw(&mut rng(seed, 0, 0, Purpose::BaseView), 50, 400);
            assert_eq!((found.height, found.width, found.left), (50, 67, 166));
        }
    }
}
