//! Separable Gaussian blur with a separate width for each image.

use tch::Tensor;

use super::draws::{Draw, Draws, host_tensor};
use super::separable;

/// Blurs `images` (N, 3, H, W). They are mirrored at their border pixels, as in torchvision.
///
/// The kernel of an image has 2 ceil(3 sigma) + 1 taps, but at most 2 min(H, W) - 1, so that one reflection
/// is enough. A sigma of 0 leaves the image unchanged.
pub(super) fn gaussian(images: &Tensor, draws: &Draws) -> Tensor {
    if draws.all(|draw| draw.sigma == Draw::IDENTITY.sigma) {
        return images.shallow_clone();
    }
    let (n, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
    let half_kernels: Vec<Vec<f64>> =
        draws.each.iter().map(|draw| half_kernel(draw.sigma, height.min(width) as usize - 1)).collect();
    // one column more than the longest half kernel: a zero for all taps outside the kernel
    let taps = half_kernels.iter().map(Vec::len).max().unwrap_or(1) + 1;
    let padded =
        half_kernels.iter().flat_map(|half| half.iter().copied().chain(std::iter::repeat(0.0)).take(taps));
    let table = host_tensor(&padded.collect::<Vec<f64>>(), &[n, taps as i64], images);
    let columns = blur_matrices(&table, height);
    let rows = if width == height { columns.shallow_clone() } else { blur_matrices(&table, width) };
    separable::apply(images, &columns, &rows)
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
    let tap_at = |distance: i64| distance.min(taps - 1);
    let last = side - 1;
    let mut index = Vec::with_capacity((3 * side * side) as usize);
    for copy in 0..3 {
        for i in 0..side {
            index.extend((0..side).map(|j| match copy {
                0 => tap_at((i - j).abs()),
                1 if j > 0 => tap_at(i + j),
                2 if j < last => tap_at(2 * last - i - j),
                _ => taps - 1,
            }));
        }
    }
    let index = Tensor::from_slice(&index).to_device(table.device());
    table.index_select(1, &index).view([n, 3, side, side]).sum_dim_intlist(1, false, None)
}
