//! Brightness, contrast, saturation and hue of images in two passes. libtorch's operations make some fifty.

use std::ffi::{c_char, c_void};

use tch::{Kind, Tensor, no_grad};

use super::driver::Kernel;
use super::forms::{Form, Forms};
use super::trial::{compare, made_up};
use crate::error::outcome;

/// The factors of a batch, (N) float32 each, in any shape; `None` for those that change no image.
#[derive(Debug)]
pub struct Factors {
    /// Factor on all values.
    pub brightness: Option<Tensor>,
    /// Factor on the difference from the image's mean grey.
    pub contrast: Option<Tensor>,
    /// Factor on the difference from the pixel's grey.
    pub saturation: Option<Tensor>,
    /// Shift of the hue in turns.
    pub hue: Option<Tensor>,
}

/// The same in libtorch's operations.
type ByLibtorch = fn(&Tensor, &Factors) -> Tensor;

/// Difference from libtorch's operations that is rounding: pixels are in [0, 1].
const TOLERANCE: f64 = 1e-5;

static FORMS: Forms<Jitter> = Forms::new("colour jitter");

/// Changes brightness, contrast, saturation and hue of `images` (N, 3, H, W), in this order, by a kernel if
/// there is one; otherwise by `operations`. No gradient passes through.
///
/// # Panics
/// Panics with libtorch's message, as tch's operations do.
pub fn jitter(images: &Tensor, factors: &Factors, operations: ByLibtorch) -> Tensor {
    let form = Form::of(images, 1).filter(|_| images.kind() == Kind::Float);
    let trial = |kernels: &Jitter, form: Form| kernels.trial(form, operations);
    match form.and_then(|form| FORMS.get(form, Jitter::compile, trial)) {
        Some(kernels) => {
            kernels.change(&images.contiguous(), factors).unwrap_or_else(|error| panic!("{error}"))
        }
        None => operations(images, factors),
    }
}

struct Jitter {
    grey_sums: Kernel,
    jitter: Kernel,
}

impl Jitter {
    fn compile(form: Form) -> Result<Jitter, String> {
        let kernels = form.compile(include_str!("jitter.cu"))?;
        Ok(Jitter { grey_sums: kernels.get(c"grey_sums")?, jitter: kernels.get(c"jitter")? })
    }

    /// Colours, grey and black, with every change and with none.
    fn trial(&self, form: Form, operations: ByLibtorch) -> Result<(), String> {
        no_grad(|| {
            // more pixels than a block sums up
            let images = made_up(&[3, 3, 90, 101], 0.37, form.options()) * 0.5 + 0.5;
            let red = images.narrow(1, 0, 1).narrow(2, 0, 5);
            images.narrow(2, 0, 5).copy_(&red);
            let _ = images.narrow(2, 5, 5).fill_(0.0);
            let factor = |values: [f32; 3]| {
                Some(Tensor::from_slice(&values).to_device(images.device()).view([3, 1, 1, 1]))
            };
            let factors = Factors {
                brightness: factor([0.7, 1.0, 1.4]),
                contrast: factor([1.3, 1.0, 0.6]),
                saturation: factor([0.5, 1.0, 1.5]),
                hue: factor([-0.2, 0.0, 0.4]),
            };
            let changed = self.change(&images, &factors)?;
            compare("the result", &changed, &operations(&images, &factors), TOLERANCE)
        })
    }

    /// `images` are contiguous.
    fn change(&self, images: &Tensor, factors: &Factors) -> Result<Tensor, String> {
        let pointer = |factor: &Option<Tensor>| {
            factor.as_ref().map_or(std::ptr::null(), |factor| factor.as_ptr().cast())
        };
        let Factors { brightness, contrast, saturation, hue } = factors;
        let [brightness, contrast, saturation, hue] = [brightness, contrast, saturation, hue].map(pointer);
        let mut changed = std::ptr::null_mut();
        // SAFETY: the kernels are those that the function expects; the pointers are null or those of tensors
        // that outlive the call, which writes `changed`.
        let message = unsafe {
            let images = images.as_ptr().cast();
            eqr_jitter(
                &self.grey_sums,
                &self.jitter,
                images,
                brightness,
                contrast,
                saturation,
                hue,
                &raw mut changed,
            )
        };
        outcome(message).map_err(|error| error.to_string())?;
        // SAFETY: the call has written a new tensor, which nobody else owns.
        Ok(unsafe { Tensor::from_ptr(changed.cast()) })
    }
}

// of native/jitter.cpp
unsafe extern "C" {
    fn eqr_jitter(
        grey_sums: *const Kernel,
        jitter: *const Kernel,
        images: *const c_void,
        brightness: *const c_void,
        contrast: *const c_void,
        saturation: *const c_void,
        hue: *const c_void,
        changed: *mut *mut c_void,
    ) -> *mut c_char;
}
