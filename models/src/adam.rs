//! Adam (Kingma and Ba 2015) over flat buffers.
//!
//! An update reads and writes four or five arrays as long as the parameters, so on a CPU its cost is memory
//! bandwidth. It is therefore a single pass over the arrays, on a GPU torch's fused operation. Written as
//! tensor operations, each with its own pass, the update took a fifth of a bf16 step of ViT-Small on a CPU.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use num_traits::Float;
use tch::kind::Element;
use tch::{Device, Kind, Tensor, no_grad};

use crate::arena::Arena;
use eqr_device::many_tensors::{AdamArrays, AdamNumbers, fused_adam};

/// Decay rates of the moments and the epsilon added to the square root. These are torch's defaults and the
/// protocol's values.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Number of elements that justifies a thread.
const ELEMENTS_PER_THREAD: usize = 1 << 17;

/// Number of elements per block, so small that the new values are still in the cache when they are copied.
const CACHED: usize = 4096;

/// Adam and its moments.
pub struct Adam {
    /// First moment, in the layout of the parameters.
    pub m: Tensor,
    /// Second moment, in the layout of the parameters. With [`Adam::folded`] on a CPU it lacks the factor
    /// 1 - beta2.
    pub v: Tensor,
    /// Steps taken.
    pub step: i64,
    /// Weight of the L2 term in the gradient, or `None` for the folded arithmetic.
    weight_decay: Option<f64>,
}

/// Contiguous tensors of equal length on one device. No two of them share memory.
pub struct Buffers<'a> {
    /// Parameters, f32 or f64.
    pub values: &'a mut Tensor,
    /// Gradients of the parameters, in the parameters' kind or bf16.
    pub gradients: &'a Tensor,
    /// Receives the new parameters in the gradients' kind.
    pub copy: Option<&'a mut Tensor>,
}

impl Adam {
    /// An optimiser for `arena` with zero moments and an L2 term in the gradient, as in torch's `Adam`
    /// (protocol section 2).
    pub fn new(arena: &Arena, weight_decay: f64) -> Self {
        Adam { weight_decay: Some(weight_decay), ..Adam::folded(arena.master()) }
    }

    /// An optimiser for the f32 `parameters` of a probe, with zero moments, no L2 term and folded constants.
    pub fn folded(parameters: &Tensor) -> Self {
        Adam { m: parameters.zeros_like(), v: parameters.zeros_like(), step: 0, weight_decay: None }
    }

    /// One update of all parameters with the arena's gradient.
    pub fn update(&mut self, arena: &mut Arena, lr: f64) {
        let (mut master, gradients) = (arena.master().shallow_clone(), arena.gradient());
        self.update_buffers(Buffers { values: &mut master, gradients: &gradients, copy: None }, lr);
        no_grad(|| arena.sync());
    }

    /// One update of all parameters in `buffers`.
    ///
    /// # Panics
    /// Panics if buffers on a CPU violate the requirements of [`Buffers`].
    pub fn update_buffers(&mut self, buffers: Buffers<'_>, lr: f64) {
        self.step += 1;
        let decayed = |beta: f64| 1.0 - beta.powi(self.step as i32);
        let rate = lr / decayed(BETA1);
        let arithmetic = match self.weight_decay {
            Some(weight_decay) => Arithmetic::Torch { weight_decay, rate, correction: decayed(BETA2) },
            None => Arithmetic::Folded {
                slope: -((1.0 - BETA2) / decayed(BETA2)).sqrt() / rate,
                offset: -EPS / rate,
            },
        };
        match (buffers.values.device(), buffers.values.kind(), buffers.gradients.kind()) {
            (Device::Cpu, Kind::Double, _) => self.in_one_pass::<f64, f64>(buffers, arithmetic),
            (Device::Cpu, _, Kind::BFloat16) => self.in_one_pass::<f32, Bf16>(buffers, arithmetic),
            (Device::Cpu, ..) => self.in_one_pass::<f32, f32>(buffers, arithmetic),
            _ => no_grad(|| self.fused(buffers, lr)),
        }
    }

    fn in_one_pass<T: Real, G: Number<T>>(&mut self, buffers: Buffers<'_>, arithmetic: Arithmetic) {
        let Buffers { values, gradients, copy } = buffers;
        let all = [Some(&*values), Some(gradients), Some(&self.m), Some(&self.v), copy.as_deref()];
        assert_apart(&all.map(|tensor| tensor.map(memory)));
        let length = values.numel();
        let (values, gradients) = (elements_mut::<T, T>(values, length), elements::<T, G>(gradients, length));
        let (m, v) = (elements_mut::<T, T>(&mut self.m, length), elements_mut::<T, T>(&mut self.v, length));
        let copy = copy.map_or(&mut [][..], |copy| elements_mut::<T, G>(copy, length));
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let share = length.div_ceil(threads.min(length / ELEMENTS_PER_THREAD).max(1)).max(1);
        let shares = values.chunks_mut(share).zip(gradients.chunks(share));
        let shares = shares.zip(m.chunks_mut(share).zip(v.chunks_mut(share)));
        let mut copies = copy.chunks_mut(share);
        std::thread::scope(|scope| {
            for (index, ((values, gradients), (m, v))) in shares.enumerate() {
                let share_of_thread =
                    Share { values, gradients, m, v, copy: copies.next().unwrap_or_default() };
                if (index + 1) * share < length {
                    scope.spawn(move || share_of_thread.update(arithmetic));
                } else {
                    share_of_thread.update(arithmetic);
                }
            }
        });
    }

    /// The update of a GPU: torch's fused one, which is one pass there.
    fn fused(&mut self, Buffers { values, gradients, copy }: Buffers<'_>, lr: f64) {
        let step = Tensor::full([0i64; 0], self.step, (Kind::Float, values.device()));
        let gradients = gradients.to_kind(values.kind());
        let arrays = AdamArrays { values, gradients: &gradients, m: &self.m, v: &self.v };
        let weight_decay = self.weight_decay.unwrap_or(0.0);
        fused_adam(arrays, &step, AdamNumbers { lr, betas: [BETA1, BETA2], weight_decay, eps: EPS });
        if let Some(copy) = copy {
            copy.copy_(values);
        }
    }
}

/// The same update with two orders of operations. Pretraining uses torch's order, because its results are
/// compared with torch's. Probes take many steps on few samples, so Adam is a large part of their time. Their
/// order has one division and no L2 term. Recorded results of both are reproduced bit for bit, so neither
/// order can replace the other.
#[derive(Clone, Copy)]
enum Arithmetic {
    /// `rate` is lr / (1 - beta1^step), and `correction` is 1 - beta2^step.
    Torch { weight_decay: f64, rate: f64, correction: f64 },
    /// The update is m / (slope sqrt(v) + offset), where `slope` and `offset` include -rate and the bias
    /// corrections.
    Folded { slope: f64, offset: f64 },
}

/// One thread's share of the arrays. All have the same length, except that `copy` may be empty.
struct Share<'a, T, G> {
    values: &'a mut [T],
    gradients: &'a [G],
    m: &'a mut [T],
    v: &'a mut [T],
    copy: &'a mut [G],
}

impl<T: Real, G: Number<T>> Share<'_, T, G> {
    /// Updates with the widest vector instructions of the processor. With narrow ones, the square root and
    /// the division take most of the time.
    fn update(self, arithmetic: Arithmetic) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has AVX-512.
                return unsafe { self.update_avx512(arithmetic) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                return unsafe { self.update_avx2(arithmetic) };
            }
        }
        self.update_any(arithmetic);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn update_avx512(self, arithmetic: Arithmetic) {
        self.update_any(arithmetic);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn update_avx2(self, arithmetic: Arithmetic) {
        self.update_any(arithmetic);
    }

    #[inline(always)]
    fn update_any(self, arithmetic: Arithmetic) {
        // the copy has a separate loop, because the compiler could not prove that five arrays in one loop do
        // not overlap
        for start in (0..self.values.len()).step_by(CACHED) {
            let range = start..self.values.len().min(start + CACHED);
            let values = &mut self.values[range.clone()];
            let (m, v) = (&mut self.m[range.clone()], &mut self.v[range.clone()]);
            descend(values, &self.gradients[range.clone()], m, v, arithmetic);
            if let Some(copy) = self.copy.get_mut(range) {
                copy.iter_mut().zip(values).for_each(|(copy, value)| *copy = G::narrow(*value));
            }
        }
    }
}

/// Applies the arithmetic to arrays of equal length.
#[inline(always)]
fn descend<T: Real, G: Number<T>>(
    values: &mut [T],
    gradients: &[G],
    m: &mut [T],
    v: &mut [T],
    arithmetic: Arithmetic,
) {
    let real = |constant: f64| T::from(constant).expect("a number that every float type has");
    let elements = values.iter_mut().zip(gradients).zip(m.iter_mut().zip(v));
    match arithmetic {
        Arithmetic::Torch { weight_decay, rate, correction } => {
            let constants = [weight_decay, 1.0 - BETA1, 1.0 - BETA2, rate, correction, EPS];
            let [weight_decay, share1, share2, rate, correction, eps] = constants.map(real);
            for ((value, gradient), (m, v)) in elements {
                let gradient = gradient.widen() + weight_decay * *value;
                *m = *m + share1 * (gradient - *m);
                *v = *v + share2 * (gradient * gradient - *v);
                *value = *value - rate * *m / ((*v / correction).sqrt() + eps);
            }
        }
        Arithmetic::Folded { slope, offset } => {
            let [slope, offset, share1, decay2] = [slope, offset, 1.0 - BETA1, BETA2].map(real);
            for ((value, gradient), (m, v)) in elements {
                let gradient = gradient.widen();
                *m = *m + (gradient - *m) * share1;
                *v = *v * decay2 + gradient * gradient;
                *value = *value + *m / (v.sqrt() * slope + offset);
            }
        }
    }
}

/// Floating-point type of the parameters and the moments.
trait Real: Float + Element + Send + Sync {}

impl<T: Float + Element + Send + Sync> Real for T {}

/// Floating-point type of the gradients and the copy, for parameters of type `T`.
trait Number<T>: Copy + Send + Sync {
    const KIND: Kind;
    fn widen(self) -> T;
    fn narrow(value: T) -> Self;
}

impl<T: Real> Number<T> for T {
    const KIND: Kind = <T as Element>::KIND;
    #[inline(always)]
    fn widen(self) -> T {
        self
    }
    #[inline(always)]
    fn narrow(value: T) -> T {
        value
    }
}

/// The upper half of an f32.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Bf16(u16);

impl Number<f32> for Bf16 {
    const KIND: Kind = Kind::BFloat16;
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
    /// Rounds to nearest, ties to even. NaN may be lost, but training has diverged in that case.
    #[inline(always)]
    fn narrow(value: f32) -> Bf16 {
        let bits = value.to_bits();
        Bf16((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}

/// The elements of a contiguous tensor of `length` elements on the CPU.
fn elements<T, G: Number<T>>(tensor: &Tensor, length: usize) -> &[G] {
    check::<T, G>(tensor, length);
    // SAFETY: `check` found this many elements of this type; they are valid as long as the borrowed tensor
    unsafe { from_raw_parts(tensor.data_ptr().cast(), length) }
}

/// The elements of a contiguous tensor of `length` elements on the CPU, mutable.
fn elements_mut<T, G: Number<T>>(tensor: &mut Tensor, length: usize) -> &mut [G] {
    check::<T, G>(tensor, length);
    // SAFETY: as in `elements`; `assert_apart` found that no other buffer of the update shares the memory
    unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), length) }
}

fn check<T, G: Number<T>>(tensor: &Tensor, length: usize) {
    let found = (tensor.device(), tensor.kind(), tensor.is_contiguous(), tensor.numel());
    assert_eq!(found, (Device::Cpu, G::KIND, true, length), "a flat buffer of the optimiser");
}

/// Address range of a contiguous tensor: its first address, and the first address after it.
fn memory(tensor: &Tensor) -> [usize; 2] {
    let start = tensor.data_ptr() as usize;
    [start, start + tensor.numel() * tensor.kind().elt_size_in_bytes()]
}

fn assert_apart(all: &[Option<[usize; 2]>]) {
    let mut all: Vec<[usize; 2]> = all.iter().flatten().copied().collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0][1] <= pair[1][0]), "two buffers of the optimiser share memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Compute;
    use crate::init::Init;
    use crate::registry::{ParameterGroup, Registry};
    use tch::nn::{self, OptimizerConfig};

    /// Long enough for several threads, with a shorter last share.
    const LENGTH: i64 = 300_001;

    fn wave(frequency: f64, kind: Kind) -> Tensor {
        (Tensor::arange(LENGTH, (kind, Device::Cpu)) * frequency).sin()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Compares two steps with Adam's equations in f64.
    #[test]
    fn adam_equals_its_equations() {
        let mut registry = Registry::default();
        let length = 1003;
        registry.add(ParameterGroup::Global, "a", &[length], Init::Normal(1.0));
        let mut arena = Arena::new(registry, 3, Compute::F64, Device::Cpu);
        let mut adam = Adam::new(&arena, 0.1);
        let mut expected = Vec::<f64>::try_from(arena.master().narrow(0, 0, length)).unwrap();
        let (mut m, mut v) = (vec![0.0; length as usize], vec![0.0; length as usize]);
        for step in 1..=2 {
            let gradient: Vec<f64> =
                (0..length).map(|i| 0.3 * (i % 7) as f64 - 0.2 * f64::from(step)).collect();
            arena.store_gradients(ParameterGroup::Global, &[Tensor::from_slice(&gradient)]);
            adam.update(&mut arena, 0.01);
            for i in 0..length as usize {
                let g = gradient[i] + 0.1 * expected[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(step)), v[i] / (1.0 - 0.999f64.powi(step)));
                expected[i] -= 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        let expected = Tensor::from_slice(&expected);
        assert!(worst(&arena.master().narrow(0, 0, length), &expected) < 1e-12);
    }

    /// The gradients have very different magnitudes, and some are zero.
    #[test]
    fn the_folded_arithmetic_agrees_with_torch() {
        let start = wave(1.0, Kind::Float);
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = store.root().var_copy("w", &start);
        let mut torch = nn::Adam::default().build(&store, 1e-3).unwrap();
        let mut ours = start.copy();
        let mut adam = Adam::folded(&ours);
        for step in 1..=20 {
            let gradients = wave(f64::from(step), Kind::Float).pow_tensor_scalar(9);
            torch.zero_grad();
            (&theirs * &gradients).sum(Kind::Float).backward();
            torch.step();
            adam.update_buffers(Buffers { values: &mut ours, gradients: &gradients, copy: None }, 1e-3);
        }
        assert!(worst(&theirs, &ours) < 1e-6);
    }

    /// Compares the update of a GPU and that of a CPU on the same numbers.
    #[test]
    fn the_fused_update_and_one_pass_agree() {
        for (weight_decay, kind, tolerance) in
            [(Some(0.1), Kind::Double, 1e-14), (Some(0.1), Kind::Float, 1e-6), (None, Kind::Float, 1e-6)]
        {
            let start = wave(0.9, kind);
            let end = |apply: &dyn Fn(&mut Adam, Buffers<'_>)| {
                let mut values = start.copy();
                let mut adam = Adam { weight_decay, ..Adam::folded(&values) };
                for step in 1..=3 {
                    let gradients = wave(0.7 * f64::from(step), kind) - 0.3;
                    apply(&mut adam, Buffers { values: &mut values, gradients: &gradients, copy: None });
                }
                (values, adam.m, adam.v)
            };
            let once = end(&|adam, buffers| adam.update_buffers(buffers, 0.02));
            let fused = end(&|adam, buffers| {
                adam.step += 1;
                adam.fused(buffers, 0.02);
            });
            assert!(worst(&once.0, &start) > 1e-3);
            let factor = if weight_decay.is_none() { 1.0 - BETA2 } else { 1.0 };
            for (once, fused) in [(once.0, fused.0), (once.1, fused.1), (once.2 * factor, fused.2)] {
                assert!(worst(&once, &fused) < tolerance, "{kind:?} {}", worst(&once, &fused));
            }
        }
    }

    /// bf16 gradients give the same update as their f32 values, and the copy equals torch's rounding of the
    /// values.
    #[test]
    fn half_width_gradients_and_copy() {
        let gradients = wave(0.7, Kind::Float).to_kind(Kind::BFloat16);
        let (mut whole, mut half) = (wave(1.1, Kind::Float), wave(1.1, Kind::Float));
        let mut copy = half.to_kind(Kind::BFloat16);
        let (mut exact, mut narrow) = (Adam::folded(&whole), Adam::folded(&half));
        for _ in 0..3 {
            let widened = gradients.to_kind(Kind::Float);
            exact.update_buffers(Buffers { values: &mut whole, gradients: &widened, copy: None }, 1e-2);
            let buffers = Buffers { values: &mut half, gradients: &gradients, copy: Some(&mut copy) };
            narrow.update_buffers(buffers, 1e-2);
        }
        assert!(whole.equal(&half) && worst(&half, &wave(1.1, Kind::Float)) > 1e-2);
        assert!(copy.equal(&half.to_kind(Kind::BFloat16)));
    }

    #[test]
    #[should_panic(expected = "share memory")]
    fn buffers_that_overlap_are_refused() {
        let mut values = wave(1.0, Kind::Float);
        let mut copy = values.shallow_clone();
        let gradients = wave(0.7, Kind::Float);
        let buffers = Buffers { values: &mut values, gradients: &gradients, copy: Some(&mut copy) };
        Adam::folded(&wave(1.0, Kind::Float)).update_buffers(buffers, 1e-3);
    }
}
