//! View 2, and both views of a pair.

use tch::Tensor;

use super::base_view::base_view;
use super::border::Border;
use super::draws::Draws;
use super::first_view::FirstView;
use super::ranges::Ranges;
use super::transform::Transform;

/// View 2 of `view1` (N, 3, H, W), as in [`FirstView::transformed`]. Here, view 1 has no surroundings, so
/// [`Border::Window`] uses its reflection.
pub fn apply(view1: &Tensor, draws: &Draws, border: Border) -> Tensor {
    FirstView::without_surroundings(view1).transformed(draws, border)
}

/// The two views of a batch of photographs, and the parameters of the transformations between them.
///
/// `images` are (N, 3, H, W), uint8 or floats in [0, 1]; `keys` are their N indices in the data set. All
/// `active` transforms are applied together; the others are the identity.
pub fn photo_pair(
    images: &Tensor,
    keys: &[u64],
    seed: u64,
    epoch: u64,
    active: &[Transform],
    ranges: &Ranges,
    border: Border,
) -> (Tensor, Tensor, Draws) {
    let draws = Draws::sample(keys, seed, epoch, active, ranges);
    let view1 = base_view(images, keys, seed, epoch, border.reach(active, ranges));
    let view2 = view1.transformed(&draws, border);
    (view1.pixels(), view2, draws)
}
