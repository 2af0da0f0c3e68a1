//! The sizes of the views of a batch, which are known before there are pixels.

use tch::Tensor;

/// Heights and widths in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Of view 1 and view 2.
    pub size: [i64; 2],
    /// Of the field with view 1 in its middle.
    pub field: [i64; 2],
}

impl Frame {
    /// A view 1 of `side` pixels in the middle of a square field.
    pub fn square(side: i64, field: i64) -> Frame {
        Frame { size: [side; 2], field: [field; 2] }
    }

    /// The pixels of view 1, (N, 3, H, W), of `field` (N, 3, H', W').
    pub(super) fn middle(&self, field: &Tensor) -> Tensor {
        let start = |axis: usize| (self.field[axis] - self.size[axis]) / 2;
        field.narrow(2, start(0), self.size[0]).narrow(3, start(1), self.size[1]).contiguous()
    }

    /// Width and height of the field relative to view 1.
    pub(super) fn ratio(&self) -> [f64; 2] {
        [1, 0].map(|axis| self.field[axis] as f64 / self.size[axis] as f64)
    }
}
