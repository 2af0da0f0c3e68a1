//! View 1: the base augmentation of a photograph.

use rand::Rng;
use rand_pcg::Pcg64Mcg;
use tch::{Kind, Tensor};

use super::draws::host_tensor;
use super::first_view::FirstView;
use super::separable;
use crate::draw::{Purpose, rng};

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

/// View 1 (N, 3, S, S) of `images` (N, 3, H, W), uint8 or floats in [0, 1], with S = min(H, W): a random box
/// with 0.5 to 1 of the image's area, resized with antialiasing and randomly flipped.
///
/// With a `reach` above 1 (see [`super::Border::reach`]), the box becomes a field that is `reach` times wider
/// than view 1. View 1 is the middle of the field: a window with 1 / reach of the box's sides. The field has
/// (reach S)^2 pixels per image.
///
/// `keys` are the indices of the images in the data set. The box depends only on seed, epoch and index. uint8
/// images give float32 views in [0, 1].
pub fn base_view(images: &Tensor, keys: &[u64], seed: u64, epoch: u64, reach: f64) -> FirstView {
    let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
    let draw = |&key: &u64| {
        PixelBox::draw(&mut rng(seed, epoch, key, Purpose::BaseView), height as usize, width as usize)
    };
    let boxes: Vec<PixelBox> = keys.iter().map(draw).collect();
    let side = height.min(width);
    FirstView::centered_in(&resized_crop(images, &boxes, field_side(side as usize, reach)), side)
}

/// Side of the field around a view 1 of `side` pixels. The field extends by the same whole number of pixels
/// on all sides of view 1, so that view 1 can be cropped from it without resampling.
pub fn field_side(side: usize, reach: f64) -> usize {
    side + 2 * (side as f64 * (reach - 1.0) / 2.0).max(0.0).ceil() as usize
}

/// Resizes one box of each image to `side` x `side`: `images` (N, 3, H, W), uint8 or floats in [0, 1] -> (N,
/// 3, side, side). The boxes must be inside their images.
///
/// Bilinear, with a wider kernel if the box is reduced, like torchvision's `resized_crop` with
/// `antialias=True`.
pub fn resized_crop(images: &Tensor, boxes: &[PixelBox], side: usize) -> Tensor {
    let (n, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
    assert_eq!(n as usize, boxes.len(), "one box per image");
    tch::no_grad(|| {
        let (floats, scale) = match images.kind() {
            Kind::Uint8 => (images.to_kind(Kind::Float), 1.0 / 255.0),
            _ => (images.shallow_clone(), 1.0),
        };
        let vertical: Vec<Span> =
            boxes.iter().map(|b| Span { start: b.top, length: b.height, flip: false }).collect();
        let horizontal: Vec<Span> =
            boxes.iter().map(|b| Span { start: b.left, length: b.width, flip: b.flip }).collect();
        let columns = resize_matrices(&vertical, height, side, 1.0, &floats);
        let rows = resize_matrices(&horizontal, width, side, scale, &floats);
        separable::apply(&floats, &columns, &rows)
    })
}

/// A box along one axis.
struct Span {
    start: usize,
    length: usize,
    flip: bool,
}

/// The matrices (N, side, source) that resize a span of a line of `source` pixels to `side` pixels and
/// multiply the result by `scale`.
fn resize_matrices(spans: &[Span], source: i64, side: usize, scale: f64, like: &Tensor) -> Tensor {
    let mut weights = vec![0.0; spans.len() * side * source as usize];
    for (span, matrix) in spans.iter().zip(weights.chunks_exact_mut(side * source as usize)) {
        for (out, row) in matrix.chunks_exact_mut(source as usize).enumerate() {
            let out = if span.flip { side - 1 - out } else { out };
            span.write_weights(out, side, scale, row);
        }
    }
    host_tensor(&weights, &[spans.len() as i64, side as i64, source], like)
}

impl Span {
    /// The weights of the source pixels for pixel `out` of `side`: a triangle around the pixel's centre,
    /// normalised over the pixels of the span.
    fn write_weights(&self, out: usize, side: usize, scale: f64, row: &mut [f64]) {
        let step = self.length as f64 / side as f64;
        let reach = step.max(1.0);
        let centre = (out as f64 + 0.5) * step;
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(self.length);
        let taps = &mut row[self.start + first..self.start + end];
        let mut sum = 0.0;
        for (pixel, tap) in (first..end).zip(taps.iter_mut()) {
            *tap = (1.0 - (pixel as f64 + 0.5 - centre).abs() / reach).max(0.0);
            sum += *tap;
        }
        taps.iter_mut().for_each(|tap| *tap *= scale / sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
