//! Separable Gaussian blur with a separate width for each image.

use tch::{Kind, Tensor};

use super::draws::{Draw, Draws};
use super::separable;
use crate::host_numbers::{DeviceNumbers, HostNumbers, Slot};

/// The kernels of a batch.
#[derive(Debug)]
pub(super) struct Blur {
    /// Half kernels (N, taps). The last column is 0, for all taps outside the kernel.
    table: Slot,
}

impl Blur {
    /// Kernels for images of this height and width. That of an image has 2 ceil(3 sigma) + 1 taps, but at
    /// most 2 min(H, W) - 1, so that one reflection is enough. `None` if no image is blurred.
    pub fn new(draws: &Draws, [height, width]: [i64; 2], numbers: &mut HostNumbers) -> Option<Blur> {
        if draws.all(|draw| draw.sigma == Draw::IDENTITY.sigma) {
            return None;
        }
        let half_kernels: Vec<Vec<f64>> =
            draws.each.iter().map(|draw| half_kernel(draw.sigma, height.min(width) as usize - 1)).collect();
        let taps = half_kernels.iter().map(Vec::len).max().unwrap_or(1) + 1;
        let padded = half_kernels
            .iter()
            .flat_map(|half| half.iter().copied().chain(std::iter::repeat(0.0)).take(taps));
        Some(Blur { table: numbers.push(&[draws.len() as i64, taps as i64], padded) })
    }

    /// Blurs `images` (N, 3, H, W). They are mirrored at their border pixels, as in torchvision. A sigma of 0
    /// leaves an image unchanged.
    pub fn of(&self, images: &Tensor, numbers: &DeviceNumbers) -> Tensor {
        let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
        let table = numbers.get(&self.table, images.kind());
        let columns = blur_matrices(&table, height);
        let rows = if width == height { columns.shallow_clone() } else { blur_matrices(&table, width) };
        separable::apply(images, &columns, &rows)
    }
}

/// The centre tap of a normalised Gaussian kernel and the taps on one side.
fn half_kernel(sigma: f64, largest_radius: usize) -> Vec<f64> {
    let radius = ((3.0 * sigma).ceil() as usize).min(largest_radius);
    if radius == 0 {
        return vec![1.0];
    }
    let half: Vec<f64> = (0..=radius).map(|tap| (-0.5 * (tap as f64 / sigma).powi(2)).exp()).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    half.into_iter().map(|tap| tap / sum).collect()
}

/// The matrices (N, side, side) that blur a line of `side` pixels, from the half kernels in `table` (N,
/// taps). The last column of `table` must be 0.
///
/// Pixel i receives pixel j directly, from its mirror image -j beyond the first pixel, and from its mirror
/// image 2 (side - 1) - j beyond the last pixel.
fn blur_matrices(table: &Tensor, side: i64) -> Tensor {
    let (n, taps) = table.size2().expect("(N, taps)");
    let (last, outside) = (side - 1, taps - 1);
    let pixels = Tensor::arange(side, (Kind::Int64, table.device()));
    let (i, j) = (pixels.unsqueeze(1), pixels.unsqueeze(0));
    let distances = [
        (&i - &j).abs(),
        (&i + &j).masked_fill(&j.eq(0), outside),
        (2 * last - &i - &j).masked_fill(&j.eq(last), outside),
    ];
    let index = Tensor::stack(&distances, 0).clamp_max(outside).view([-1]);
    table.index_select(1, &index).view([n, 3, side, side]).sum_dim_intlist(1, false, None)
}
