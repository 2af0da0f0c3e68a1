//! View 1 with its surroundings.

use tch::Tensor;

use super::border::Border;
use super::draws::Draws;
use super::frame::Frame;
use super::second_view::SecondView;
use crate::host_numbers::{DeviceNumbers, HostNumbers};

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
        self.frame().middle(&self.field)
    }

    /// View 2 (N, 3, H, W): view 1 transformed by `draws` (one per image), as [`SecondView::new`] says.
    pub fn transformed(&self, draws: &Draws, border: Border) -> Tensor {
        let mut numbers = HostNumbers::default();
        let second = SecondView::new(draws, self.frame(), border, &mut numbers);
        self.seen(&second, &numbers.on_device(self.field.device()))
    }

    /// View 2 (N, 3, H, W) as it was planned for a view 1 of these sizes.
    pub fn seen(&self, second: &SecondView, numbers: &DeviceNumbers) -> Tensor {
        second.of(&self.field, self.frame(), numbers)
    }

    /// The sizes of view 1 and its field.
    pub fn frame(&self) -> Frame {
        let (_, _, height, width) = self.field.size4().expect("checked by both constructors");
        Frame { size: self.size, field: [height, width] }
    }
}
