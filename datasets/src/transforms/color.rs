//! Brightness, contrast, saturation and hue as defined by torchvision, with a separate factor for each image.

use eqr_device::kernels::{Factors, jitter};
use tch::Tensor;

use super::draws::{Draw, Draws};
use crate::host_numbers::{DeviceNumbers, HostNumbers, Slot};

/// Weights of red, green and blue in grey (ITU-R 601-2, as rounded by torchvision).
const GREY: [f64; 3] = [0.2989, 0.587, 0.114];

/// Minimum divisor in place of a chroma of 0, as in grey pixels. It is far below one step of 8-bit colour.
const SMALLEST_CHROMA: f64 = 1e-6;

/// The factors of a batch, (N, 1, 1, 1) each; `None` for those that change no image.
#[derive(Debug)]
pub(super) struct Jitter {
    brightness: Option<Slot>,
    contrast: Option<Slot>,
    saturation: Option<Slot>,
    hue: Option<Slot>,
}

impl Jitter {
    pub fn new(draws: &Draws, numbers: &mut HostNumbers) -> Jitter {
        let mut factors = |quantity: fn(&Draw) -> f64| {
            let changes = !draws.all(|draw| quantity(draw) == quantity(&Draw::IDENTITY));
            changes.then(|| numbers.push(&[draws.len() as i64, 1, 1, 1], draws.each.iter().map(quantity)))
        };
        Jitter {
            brightness: factors(|draw| draw.brightness),
            contrast: factors(|draw| draw.contrast),
            saturation: factors(|draw| draw.saturation),
            hue: factors(|draw| draw.hue),
        }
    }

    /// Changes brightness, contrast, saturation and hue of `images` (N, 3, H, W), in this order.
    pub fn of(&self, images: &Tensor, numbers: &DeviceNumbers) -> Tensor {
        let factor = |slot: &Option<Slot>| slot.as_ref().map(|slot| numbers.get(slot, images.kind()));
        let Jitter { brightness, contrast, saturation, hue } = self;
        if [brightness, contrast, saturation, hue].into_iter().all(Option::is_none) {
            return images.shallow_clone();
        }
        let factors = Factors {
            brightness: factor(brightness),
            contrast: factor(contrast),
            saturation: factor(saturation),
            hue: factor(hue),
        };
        jitter(images, &factors, by_operations)
    }
}

/// The changes of `images` (N, 3, H, W) in libtorch's operations.
fn by_operations(images: &Tensor, factors: &Factors) -> Tensor {
    let mut out = images.shallow_clone();
    if let Some(brightness) = &factors.brightness {
        out = clamped(&out * brightness);
    }
    if let Some(contrast) = &factors.contrast {
        let mean = grey(&out).mean_dim(&[2i64, 3][..], true, None);
        out = blend(&out, &mean, contrast);
    }
    if let Some(saturation) = &factors.saturation {
        out = blend(&out, &grey(&out), saturation);
    }
    if let Some(hue) = &factors.hue {
        out = shift_hue(&out, hue);
    }
    out
}

/// Splits `images` into three channels (N, 1, H, W).
fn channels(images: &Tensor) -> [Tensor; 3] {
    [0, 1, 2].map(|channel| images.narrow(1, channel, 1))
}

/// Grey values (N, 1, H, W).
fn grey(images: &Tensor) -> Tensor {
    let [red, green, blue] = channels(images);
    let mut grey = red * GREY[0];
    grey += green * GREY[1];
    grey += blue * GREY[2];
    grey
}

/// factor * image + (1 - factor) * other, clamped to [0, 1].
fn blend(image: &Tensor, other: &Tensor, factor: &Tensor) -> Tensor {
    let rest = other * (1.0 - factor);
    clamped(image * factor + rest)
}

/// Clamps `values` to [0, 1] in place.
fn clamped(mut values: Tensor) -> Tensor {
    values.clamp_(0.0, 1.0)
}

/// Rotates the hue (HSV) of `images` by `turns` (N, 1, 1, 1).
///
/// A colour with value v, chroma c (= v * saturation) and hue h in sixths of a turn has the channels v - c *
/// (1 - w(h)) with w_red = |h - 3| - 1, w_green = 2 - |h - 2|, w_blue = 2 - |h - 4|, each clamped to [0, 1].
/// This formula covers all six cases of torchvision's code.
fn shift_hue(images: &Tensor, turns: &Tensor) -> Tensor {
    let [red, green, blue] = channels(images);
    let value = red.maximum(&green).maximum(&blue);
    let chroma = &value - red.minimum(&green).minimum(&blue);
    let hue = wrap(sixths(&[red, green, blue], &value, &chroma) + turns * 6.0);
    let weight = [
        clamped((&hue - 3.0).abs_() - 1.0),
        clamped(2.0 - (&hue - 2.0).abs_()),
        clamped(2.0 - (&hue - 4.0).abs_()),
    ];
    let mut out = Tensor::cat(&weight, 1);
    out -= 1.0;
    out *= chroma;
    out += value;
    out
}

/// Hue in sixths of a turn, in [-1, 5]. It is arbitrary for grey pixels, which have a chroma of 0.
fn sixths([red, green, blue]: &[Tensor; 3], value: &Tensor, chroma: &Tensor) -> Tensor {
    let chroma = chroma.clamp_min(SMALLEST_CHROMA);
    let from_red = (green - blue) / &chroma;
    let from_green = (blue - red) / &chroma + 2.0;
    let from_blue = (red - green) / &chroma + 4.0;
    from_red.where_self(&value.eq_tensor(red), &from_green.where_self(&value.eq_tensor(green), &from_blue))
}

/// Wraps a hue in sixths of a turn to [0, 6].
fn wrap(hue: Tensor) -> Tensor {
    let turns = (&hue / 6.0).floor_();
    hue - turns * 6.0
}

#[cfg(test)]
mod tests {
    use super::{Factors, by_operations, jitter};
    use eqr_device::test_device::test_device;
    use tch::{Kind, Tensor};

    /// Images (N, 3, H, W) with grey rows, black rows and rows of pure colours.
    fn images(number: i64, height: i64, width: i64) -> Tensor {
        let options = (Kind::Float, tch::Device::Cpu);
        let wave = (Tensor::arange(number * 3 * height * width, options) * 1.7).sin() * 91.0;
        let images = (wave.sin() * 0.5 + 0.5).view([number, 3, height, width]);
        for row in (0..height).step_by(4) {
            let mut row = images.narrow(2, row, 1);
            row.copy_(&row.narrow(1, 0, 1).copy());
        }
        for row in (1..height).step_by(8) {
            let _ = images.narrow(2, row, 1).fill_(0.0).narrow(1, row % 3, 1).fill_(1.0);
        }
        images
    }

    /// What a GPU computes is what the operations compute on the CPU, for every subset of the changes.
    #[test]
    fn a_kernel_has_the_values_of_the_operations() {
        let device = test_device();
        if !device.is_cuda() {
            eprintln!("SKIPPED: kernels are for GPUs (make test-false-gpu)");
            return;
        }
        for (number, height, width) in [(1, 1, 1), (1, 3, 7), (5, 64, 40), (2, 130, 101)] {
            let images = images(number, height, width);
            for changes in 0..16 {
                let factor = |bit: i64, low: f64, high: f64| {
                    let steps = Tensor::arange(number, (Kind::Float, tch::Device::Cpu)) / 5.0;
                    ((changes >> bit) & 1 == 1).then(|| (steps * (high - low) + low).view([-1, 1, 1, 1]))
                };
                let factors = Factors {
                    brightness: factor(0, 0.6, 1.4),
                    contrast: factor(1, 1.5, 0.5),
                    saturation: factor(2, 0.4, 1.6),
                    hue: factor(3, -0.5, 0.5),
                };
                let on_gpu = |factor: &Option<Tensor>| factor.as_ref().map(|factor| factor.to_device(device));
                let Factors { brightness, contrast, saturation, hue } = &factors;
                let on_gpu = Factors {
                    brightness: on_gpu(brightness),
                    contrast: on_gpu(contrast),
                    saturation: on_gpu(saturation),
                    hue: on_gpu(hue),
                };
                let expected = by_operations(&images, &factors);
                let found =
                    jitter(&images.to_device(device), &on_gpu, by_operations).to_device(tch::Device::Cpu);
                let difference = (found - expected).abs().max().double_value(&[]);
                assert!(difference < 1e-5, "{number} x {height} x {width}, {changes:04b}: {difference}");
            }
        }
    }
}
