//! A box of each image of a batch, resized.

use tch::{Kind, Tensor};

use super::pixel_box::PixelBox;
use super::separable;
use crate::host_numbers::{DeviceNumbers, HostNumbers, Slot};

/// Resizes one box of each image to `side` x `side`: `images` (N, 3, H, W), uint8 or floats in [0, 1] -> (N,
/// 3, side, side). The boxes must be inside their images.
///
/// Bilinear, with a wider kernel if the box is reduced, like torchvision's `resized_crop` with
/// `antialias=True`.
pub fn resized_crop(images: &Tensor, boxes: &[PixelBox], side: usize) -> Tensor {
    let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
    let mut numbers = HostNumbers::default();
    let crop = ResizedCrop::new(boxes, [height, width], side, images.kind(), &mut numbers);
    crop.of(images, &numbers.on_device(images.device()))
}

/// The boxes of a batch and the side that they are resized to, as numbers on their way to the device.
#[derive(Debug)]
pub(super) struct ResizedCrop {
    vertical: Taps,
    horizontal: Taps,
    side: i64,
}

impl ResizedCrop {
    /// Of images (N, 3, H, W) of `kind`.
    pub fn new(
        boxes: &[PixelBox],
        [height, width]: [i64; 2],
        side: usize,
        kind: Kind,
        numbers: &mut HostNumbers,
    ) -> ResizedCrop {
        let vertical: Vec<Span> =
            boxes.iter().map(|b| Span { start: b.top, length: b.height, flip: false }).collect();
        let horizontal: Vec<Span> =
            boxes.iter().map(|b| Span { start: b.left, length: b.width, flip: b.flip }).collect();
        let scale = if kind == Kind::Uint8 { 1.0 / 255.0 } else { 1.0 };
        ResizedCrop {
            vertical: Taps::new(&vertical, height, side, 1.0, numbers),
            horizontal: Taps::new(&horizontal, width, side, scale, numbers),
            side: side as i64,
        }
    }

    /// Side of the result.
    pub fn side(&self) -> i64 {
        self.side
    }

    /// The resized boxes of `images`, (N, 3, side, side).
    pub fn of(&self, images: &Tensor, numbers: &DeviceNumbers) -> Tensor {
        tch::no_grad(|| {
            let floats = match images.kind() {
                Kind::Uint8 => images.to_kind(Kind::Float),
                _ => images.shallow_clone(),
            };
            let [columns, rows] =
                [&self.vertical, &self.horizontal].map(|taps| taps.matrices(numbers, floats.kind()));
            separable::apply(&floats, &columns, &rows)
        })
    }
}

/// The matrices that resize the lines of a batch. A row of a matrix has only a few values that are not 0:
/// its taps.
#[derive(Debug)]
struct Taps {
    /// Column of the first tap of each row, (N, side).
    first: Slot,
    /// The taps, (N, side, most of any row), filled up with zeros.
    taps: Slot,
    /// Number of columns.
    source: i64,
}

impl Taps {
    /// Resizes a span of a line of `source` pixels to `side` pixels and multiplies the result by `scale`.
    fn new(spans: &[Span], source: i64, side: usize, scale: f64, numbers: &mut HostNumbers) -> Taps {
        let row =
            |span: &Span, out: usize| span.weights(if span.flip { side - 1 - out } else { out }, side, scale);
        let rows: Vec<(usize, Vec<f64>)> =
            spans.iter().flat_map(|span| (0..side).map(move |out| row(span, out))).collect();
        let most = rows.iter().map(|(_, taps)| taps.len()).max().unwrap_or(1);
        let filled = |(_, taps): &(usize, Vec<f64>)| {
            taps.iter().copied().chain(std::iter::repeat(0.0)).take(most).collect::<Vec<f64>>()
        };
        let (images, side) = (spans.len() as i64, side as i64);
        Taps {
            first: numbers.push(&[images, side], rows.iter().map(|(first, _)| *first as f64)),
            taps: numbers.push(&[images, side, most as i64], rows.iter().flat_map(filled)),
            source,
        }
    }

    /// The matrices (N, side, source).
    fn matrices(&self, numbers: &DeviceNumbers, kind: Kind) -> Tensor {
        let taps = numbers.get(&self.taps, kind);
        let (images, side, most) = taps.size3().expect("(N, side, taps)");
        let first = numbers.get(&self.first, Kind::Int64);
        let place = Tensor::arange(most, (Kind::Int64, taps.device()));
        // the zeros that fill up a row are added to its last columns, which they do not change
        let columns = (first.unsqueeze(2) + place).clamp_max(self.source - 1);
        Tensor::zeros([images, side, self.source], (kind, taps.device())).scatter_add(2, &columns, &taps)
    }
}

/// A box along one axis.
struct Span {
    start: usize,
    length: usize,
    flip: bool,
}

impl Span {
    /// The first source pixel of pixel `out` of `side`, and the weights from there on: a triangle around the
    /// pixel's centre, normalised over the pixels of the span.
    fn weights(&self, out: usize, side: usize, scale: f64) -> (usize, Vec<f64>) {
        let step = self.length as f64 / side as f64;
        let reach = step.max(1.0);
        let centre = (out as f64 + 0.5) * step;
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(self.length);
        let weight = |pixel: usize| (1.0 - (pixel as f64 + 0.5 - centre).abs() / reach).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        (self.start + first, weights.into_iter().map(|weight| weight * (scale / sum)).collect())
    }
}
