//! Adam on one flat buffer, in place.
//!
//! A step reads and writes five arrays as long as the parameters, so that on a CPU it costs what main memory costs. There one pass
//! of our own does it all; torch's operations are a pass each.

use tch::{Device, Kind, Tensor};

/// Decay of the first and second moment and the term beside the root: torch's defaults, the protocol's values.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Elements that are worth a thread of their own.
const THREAD: usize = 1 << 17;

/// Elements of the values that are still in the cache when they are copied.
const CACHED: usize = 4096;

/// Adam without weight decay over a flat buffer of parameters and one of their gradients.
pub(crate) struct Adam {
    lr: f64,
    steps: i32,
    values: Tensor,
    gradients: Tensor,
    copy: Tensor,
    first: Tensor,
    second: Tensor,
    threads: usize,
}

/// What the moments become a step with, beside the decays: the update is first / (slope * root of second + offset). The second moment
/// is kept without the factor 1 - BETA2, and -rate stands in the denominator: both are in slope and offset.
#[derive(Clone, Copy)]
struct Step {
    slope: f64,
    offset: f64,
}

impl Adam {
    /// Optimiser of `values` with `gradients`, (P) float32 and of any float kind, contiguous and on one device, that writes what the
    /// values become to `copy`, of the gradients' kind, where that is other memory. All are kept as views. On a CPU a step uses as
    /// many threads as torch does now, and gradients are float32 or bfloat16.
    pub(crate) fn new(values: &Tensor, gradients: &Tensor, copy: &Tensor, lr: f64) -> Adam {
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).min(values.numel() / THREAD).max(1);
        let [values, gradients, copy] = [values, gradients, copy].map(Tensor::shallow_clone);
        Adam { lr, steps: 0, first: values.zeros_like(), second: values.zeros_like(), values, gradients, copy, threads }
    }

    /// One step with the gradients as they stand in the buffer.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        let rate = self.lr / (1.0 - BETA1.powi(self.steps));
        let slope = -((1.0 - BETA2) / (1.0 - BETA2.powi(self.steps))).sqrt() / rate;
        let step = Step { slope, offset: -EPS / rate };
        match (self.values.device(), self.gradients.kind()) {
            (Device::Cpu, Kind::Float) => self.on_host::<f32>(step),
            (Device::Cpu, Kind::BFloat16) => self.on_host::<Bf16>(step),
            _ => self.on_device(step),
        }
    }

    fn on_device(&mut self, Step { slope, offset }: Step) {
        let gradients = self.gradients.to_kind(Kind::Float);
        let _ = self.first.lerp_(&gradients, 1.0 - BETA1);
        let _ = self.second.g_mul_scalar_(BETA2);
        let _ = self.second.addcmul_(&gradients, &gradients);
        let denominator = self.second.sqrt().g_mul_scalar_(slope).g_add_scalar_(offset);
        let _ = self.values.addcdiv_(&self.first, &denominator);
        if self.copies() {
            self.copy.copy_(&self.values);
        }
    }

    fn on_host<G: Number>(&mut self, step: Step) {
        let copies = self.copies();
        let length = self.values.numel();
        // SAFETY: each is a contiguous CPU tensor of this many elements of this kind (`Adam::new`, `Adam::step`) that `self` keeps
        // alive. No two share memory (`copy` is only taken where it is apart), and nobody else uses them during the call.
        let (values, gradients, first, second, copy) = unsafe {
            (
                host::<f32>(&self.values, length),
                host::<G>(&self.gradients, length),
                host::<f32>(&self.first, length),
                host::<f32>(&self.second, length),
                host::<G>(&self.copy, if copies { length } else { 0 }),
            )
        };
        let part = length.div_ceil(self.threads);
        std::thread::scope(|scope| {
            let mut copies = copy.chunks_mut(part);
            let parts = values
                .chunks_mut(part)
                .zip(gradients.chunks(part))
                .zip(first.chunks_mut(part).zip(second.chunks_mut(part)));
            for (index, ((values, gradients), (first, second))) in parts.enumerate() {
                let arrays = Arrays { values, gradients, first, second, copy: copies.next().unwrap_or_default() };
                if (index + 1) * part < length {
                    scope.spawn(move || arrays.update(step));
                } else {
                    arrays.update(step);
                }
            }
        });
    }

    /// Whether the values have a copy.
    fn copies(&self) -> bool {
        self.copy.data_ptr() != self.values.data_ptr()
    }
}

/// The elements of a tensor.
///
/// # Safety
/// `tensor` must be a contiguous CPU tensor of at least `length` elements of kind `T`, alive and used by nobody else for as long as the
/// slice is.
unsafe fn host<'a, T>(tensor: &Tensor, length: usize) -> &'a mut [T] {
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), length) }
}

/// Element of gradients and of the copy.
trait Number: Copy + Send + Sync {
    fn read(self) -> f32;
    fn written(value: f32) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn read(self) -> f32 {
        self
    }
    #[inline(always)]
    fn written(value: f32) -> f32 {
        value
    }
}

/// The upper half of a float32.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Bf16(u16);

impl Number for Bf16 {
    #[inline(always)]
    fn read(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
    /// To the nearest, ties to even; parameters are finite or the probe has diverged.
    #[inline(always)]
    fn written(value: f32) -> Bf16 {
        let bits = value.to_bits();
        Bf16((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}

/// One thread's part of the arrays, all as long but `copy`, which may be empty.
struct Arrays<'a, G> {
    values: &'a mut [f32],
    gradients: &'a [G],
    first: &'a mut [f32],
    second: &'a mut [f32],
    copy: &'a mut [G],
}

impl<G: Number> Arrays<'_, G> {
    /// One step, with the widest vectors that the processor has: the root and the quotient take most of the time with narrow ones.
    fn update(self, step: Step) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has AVX-512.
                return unsafe { self.update_avx512(step) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                return unsafe { self.update_avx2(step) };
            }
        }
        self.update_any(step);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn update_avx512(self, step: Step) {
        self.update_any(step);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn update_avx2(self, step: Step) {
        self.update_any(step);
    }

    #[inline(always)]
    fn update_any(self, step: Step) {
        // the copy is written while the values are still in the cache, by a loop of its own: of five arrays in one loop the compiler
        // would not know that they lie apart
        for start in (0..self.values.len()).step_by(CACHED) {
            let range = start..self.values.len().min(start + CACHED);
            let values = &mut self.values[range.clone()];
            descend(
                values,
                &self.gradients[range.clone()],
                &mut self.first[range.clone()],
                &mut self.second[range.clone()],
                step,
            );
            if let Some(copy) = self.copy.get_mut(range) {
                copy.iter_mut().zip(values).for_each(|(copy, value)| *copy = G::written(*value));
            }
        }
    }
}

/// One step of values with their gradients and moments, all as long.
#[inline(always)]
fn descend<G: Number>(values: &mut [f32], gradients: &[G], first: &mut [f32], second: &mut [f32], step: Step) {
    let (slope, offset) = (step.slope as f32, step.offset as f32);
    let (share, decay) = ((1.0 - BETA1) as f32, BETA2 as f32);
    for (((value, gradient), first), second) in values.iter_mut().zip(gradients).zip(first).zip(second) {
        let gradient = gradient.read();
        *first += (gradient - *first) * share;
        *second = *second * decay + gradient * gradient;
        *value += *first / (second.sqrt() * slope + offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};

    /// 300,001 elements span threads and a short end; gradients of very different sizes, some zero.
    #[test]
    fn agrees_with_torch() {
        let n = 300_001;
        let start = Tensor::arange(n, (Kind::Float, Device::Cpu)).sin();
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = store.root().var_copy("w", &start);
        let mut torch = nn::Adam::default().build(&store, 1e-3).unwrap();
        let ours = start.copy();
        let gradient = Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let mut adam = Adam::new(&ours, &gradient, &ours, 1e-3);
        for step in 1..=20 {
            let g = (Tensor::arange(n, (Kind::Float, Device::Cpu)) * f64::from(step)).cos().pow_tensor_scalar(9);
            torch.zero_grad();
            (&theirs * &g).sum(Kind::Float).backward();
            torch.step();
            gradient.shallow_clone().copy_(&g);
            adam.step();
        }
        let worst = (theirs - ours).abs().max().double_value(&[]);
        assert!(worst < 1e-6, "largest difference {worst}");
    }

    /// Gradients in bfloat16 count as what they are, and the copy is what torch rounds the values to.
    #[test]
    fn half_width_gradients_and_copy() {
        let n = 300_001;
        let wave = |f: f64| (Tensor::arange(n, (Kind::Float, Device::Cpu)) * f).sin();
        let gradient = wave(0.7).to_kind(Kind::BFloat16);
        let (whole, half) = (wave(1.1), wave(1.1));
        let copy = half.to_kind(Kind::BFloat16);
        let mut exact = Adam::new(&whole, &gradient.to_kind(Kind::Float), &whole, 1e-2);
        let mut narrow = Adam::new(&half, &gradient, &copy, 1e-2);
        for _ in 0..3 {
            exact.step();
            narrow.step();
        }
        assert!(whole.equal(&half) && (&half - wave(1.1)).abs().max().double_value(&[]) > 1e-2);
        assert!(copy.equal(&half.to_kind(Kind::BFloat16)));
    }
}
