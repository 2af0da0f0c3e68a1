//! Flip, crop, rotation and translation as one bilinear resampling.

use tch::Tensor;

use super::border::Border;
use super::draws::{Crop, Draw, Draws};
use super::frame::Frame;
use crate::host_numbers::{DeviceNumbers, HostNumbers, Slot};

/// libtorch's number for the bilinear mode of grid_sampler.
const BILINEAR: i64 = 0;

/// The resampling of a batch.
#[derive(Debug)]
pub(super) struct Resampling {
    /// Where each image of view 2 lies in the field, (N, 2, 3).
    theta: Slot,
}

impl Resampling {
    /// `None` if the geometric parameters of every image are the identity.
    pub fn new(draws: &Draws, frame: Frame, numbers: &mut HostNumbers) -> Option<Resampling> {
        let [height, width] = frame.size;
        let (aspect, ratio) = (width as f64 / height as f64, frame.ratio());
        let theta = draws.each.iter().flat_map(|draw| source_of_output(draw, aspect, ratio));
        let shape = [draws.len() as i64, 2, 3];
        (!draws.all(is_identity)).then(|| Resampling { theta: numbers.push(&shape, theta) })
    }

    /// View 1, flipped, cropped, rotated and shifted: a field (N, 3, H', W') -> (N, 3, H, W).
    pub fn of(&self, field: &Tensor, frame: Frame, border: Border, numbers: &DeviceNumbers) -> Tensor {
        let (images, channels, ..) = field.size4().expect("a field is (N, 3, H', W')");
        let [height, width] = frame.size;
        let theta = numbers.get(&self.theta, field.kind());
        let grid = Tensor::affine_grid_generator(&theta, [images, channels, height, width], false);
        field.grid_sampler(&grid, BILINEAR, border.padding_mode(), false)
    }
}

/// Whether the geometric parameters of `draw` are the identity.
fn is_identity(draw: &Draw) -> bool {
    let Draw { angle, shift, crop, flip, .. } = Draw::IDENTITY;
    draw.angle == angle && draw.shift == shift && draw.crop == crop && draw.flip == flip
}

/// The 2x3 matrix, in row-major order, that maps a point of view 2 to the point of the field that it shows.
/// Coordinates range from -1 to 1 (x to the right, y down). `aspect` is width / height of the views. `ratio`
/// is the width and height of the field relative to view 1.
///
/// View 2 = shift(rotate(crop(flip(view 1)))), so its point p shows flip(centre + size * R^-1 (p - shift)).
/// The y axis points down, so the inverse of a counter-clockwise rotation by a is [[cos a, -sin a], [sin a,
/// cos a]].
pub(super) fn source_of_output(draw: &Draw, aspect: f64, ratio: [f64; 2]) -> [f64; 6] {
    let (sin, cos) = draw.angle.to_radians().sin_cos();
    let turn = [[cos, -sin / aspect], [sin * aspect, cos]];
    let shift = draw.shift.map(|fraction| 2.0 * fraction);
    let Crop { centre, width, height } = draw.crop;
    let mut rows = [0.0; 6];
    for (axis, size) in [width, height].into_iter().enumerate() {
        let mirror = if axis == 0 && draw.flip { -1.0 } else { 1.0 } / ratio[axis];
        let turned_shift = turn[axis][0] * shift[0] + turn[axis][1] * shift[1];
        rows[3 * axis] = mirror * size * turn[axis][0];
        rows[3 * axis + 1] = mirror * size * turn[axis][1];
        rows[3 * axis + 2] = mirror * (centre[axis] - size * turned_shift);
    }
    rows
}
