//! View 1 with what lies around it.

use tch::Tensor;

use super::draws::Draws;
use super::{Border, Ranges, Transform, affine, blur, color};

/// View 1 of a batch and around it, under [`Border::Window`], as much of its source as view 2 may show.
#[derive(Debug)]
pub struct FirstView {
    /// (N, 3, H', W') at the pixel size of view 1.
    field: Tensor,
    /// H and W of view 1, which is the middle of the field.
    size: [i64; 2],
}

impl FirstView {
    /// View 1 (N, 3, H, W) of which no surroundings are known.
    pub fn alone(images: &Tensor) -> FirstView {
        let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
        FirstView { field: images.shallow_clone(), size: [height, width] }
    }

    /// View 1 is the middle `side` x `side` pixels of `field` (N, 3, F, F), with F - side even and not negative.
    pub fn amid(field: &Tensor, side: i64) -> FirstView {
        let (_, _, height, width) = field.size4().expect("a field is (N, 3, F, F)");
        assert!(height == width && width >= side && (width - side) % 2 == 0, "{side} in {height} x {width}");
        FirstView { field: field.shallow_clone(), size: [side, side] }
    }

    /// View 1, (N, 3, H, W).
    pub fn pixels(&self) -> Tensor {
        let [_, _, height, width] = self.field_shape();
        let [rows, columns] = self.size;
        self.field.narrow(2, (height - rows) / 2, rows).narrow(3, (width - columns) / 2, columns).contiguous()
    }

    /// View 2 (N, 3, H, W): view 1 transformed as `draws` (one per image) say.
    ///
    /// Order: flip, crop, rotation, translation, as one bilinear resampling; then color; then blur. A stage whose
    /// parameters are the identity for every image of the batch is skipped, so that identity parameters change nothing
    /// at all. `border` says what stands beyond the surroundings, where view 2 reaches so far.
    pub fn transformed(&self, draws: &Draws, border: Border) -> Tensor {
        let [images, channels, ..] = self.field_shape();
        assert!(images as usize == draws.len() && channels == 3, "{images} images for {} draws", draws.len());
        tch::no_grad(|| {
            let view2 = affine::resample(self, draws, border);
            let view2 = color::jitter(&view2, draws);
            let view2 = blur::gaussian(&view2, draws);
            // where every stage was skipped view 2 still is the memory of view 1
            if view2.data_ptr() == self.field.data_ptr() { view2.copy() } else { view2 }
        })
    }

    /// The field, and its width and height in those of view 1.
    pub(super) fn surroundings(&self) -> (&Tensor, [f64; 2]) {
        let [_, _, height, width] = self.field_shape();
        (&self.field, [width as f64 / self.size[1] as f64, height as f64 / self.size[0] as f64])
    }

    /// Shape of either view.
    pub(super) fn shape(&self) -> [i64; 4] {
        let [images, channels, ..] = self.field_shape();
        [images, channels, self.size[0], self.size[1]]
    }

    fn field_shape(&self) -> [i64; 4] {
        let (images, channels, height, width) = self.field.size4().expect("both constructors have asked");
        [images, channels, height, width]
    }
}

impl Border {
    /// How far view 2 may reach where `active` are drawn from `ranges`, counted from the centre of view 1 in halves of
    /// its side: the field about view 1 must be this many times wider. 1 for borders that need no field.
    ///
    /// A shift by t of the side takes the edge of view 2 to 1 + 2 t, and a turn by a then takes its corner to
    /// (1 + 2 t) (cos a + sin a), most at 45 degrees. A flip and a crop, which lies inside view 1, reach no farther.
    pub fn reach(self, active: &[Transform], ranges: &Ranges) -> f64 {
        if self != Border::Window {
            return 1.0;
        }
        let range = |transform: Transform, range: f64| if active.contains(&transform) { range } else { 0.0 };
        let (sin, cos) = range(Transform::Rotation, ranges.rotation).min(45.0).to_radians().sin_cos();
        (1.0 + 2.0 * range(Transform::Translation, ranges.translation)) * (cos + sin)
    }
}
