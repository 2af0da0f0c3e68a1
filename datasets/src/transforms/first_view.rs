//! View 1 with its surroundings.

use tch::Tensor;

use super::border::Border;
use super::draws::Draws;
use super::{affine, blur, color};

/// View 1 of a batch. With [`Border::Window`], also the surroundings that view 2 may show.
#[derive(Debug)]
pub struct FirstView {
    /// (N, 3, H', W'), with pixels of the same size as in view 1.
    field: Tensor,
    /// H and W of view 1, which is the middle of the field.
    size: [i64; 2],
}

impl FirstView {
    /// View 1 (N, 3, H, W) without surroundings.
    pub fn without_surroundings(images: &Tensor) -> FirstView {
        let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
        FirstView { field: images.shallow_clone(), size: [height, width] }
    }

    /// View 1 as the middle `side` x `side` pixels of `field` (N, 3, F, F). F - side must be even and not
    /// negative.
    pub fn centered_in(field: &Tensor, side: i64) -> FirstView {
        let (_, _, height, width) = field.size4().expect("a field is (N, 3, F, F)");
        assert!(height == width && width >= side && (width - side) % 2 == 0, "{side} in {height} x {width}");
        FirstView { field: field.shallow_clone(), size: [side, side] }
    }

    /// The pixels of view 1, (N, 3, H, W).
    pub fn pixels(&self) -> Tensor {
        let [_, _, height, width] = self.field_shape();
        let [rows, columns] = self.size;
        self.field.narrow(2, (height - rows) / 2, rows).narrow(3, (width - columns) / 2, columns).contiguous()
    }

    /// View 2 (N, 3, H, W): view 1 transformed by `draws` (one per image).
    ///
    /// Order: first flip, crop, rotation and translation as one bilinear resampling, then color, then blur. A
    /// stage is skipped if its parameters are the identity for every image of the batch, so that identity
    /// parameters change nothing. `border` decides what view 2 shows beyond the surroundings.
    pub fn transformed(&self, draws: &Draws, border: Border) -> Tensor {
        let [images, channels, ..] = self.field_shape();
        assert!(images as usize == draws.len() && channels == 3, "{images} images for {} draws", draws.len());
        tch::no_grad(|| {
            let view2 = affine::resample(self, draws, border);
            let view2 = color::jitter(&view2, draws);
            let view2 = blur::gaussian(&view2, draws);
            // if every stage was skipped, view 2 still shares its memory with view 1
            if view2.data_ptr() == self.field.data_ptr() { view2.copy() } else { view2 }
        })
    }

    /// The field, and its width and height relative to view 1.
    pub(super) fn field(&self) -> (&Tensor, [f64; 2]) {
        let [_, _, height, width] = self.field_shape();
        (&self.field, [width as f64 / self.size[1] as f64, height as f64 / self.size[0] as f64])
    }

    /// The shape of each view.
    pub(super) fn shape(&self) -> [i64; 4] {
        let [images, channels, ..] = self.field_shape();
        [images, channels, self.size[0], self.size[1]]
    }

    fn field_shape(&self) -> [i64; 4] {
        let (images, channels, height, width) = self.field.size4().expect("checked by both constructors");
        [images, channels, height, width]
    }
}
