//! All parameters of a method in one flat buffer.
//!
//! Offsets are padded to 64 elements. Every parameter is a leaf tensor that is a view into the buffer, so the optimiser and the
//! all-reduce work on one flat tensor while the model sees named weights. In bf16 runs the per-sample part has one bf16 copy that
//! forward and backward use; the master stays fp32.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use rand_pcg::Pcg64Mcg;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All elements equal.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation. timm's `trunc_normal_` cuts at ±2 absolute, a hundred deviations away.
    Normal(f64),
    /// Uniform in ± this bound.
    Uniform(f64),
    /// A zero token, then sine-cosine positions of a `grid` x `grid` token map, as MAE's position embedding starts.
    SinCos {
        /// Side of the token map.
        grid: i64,
        /// Width of a token.
        dim: i64,
    },
}

impl Init {
    /// torch's default for a Linear of `fan_in` inputs, weight and bias alike.
    pub fn linear(fan_in: i64) -> Self {
        Init::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// Glorot and Bengio 2010, as in MAE's blocks.
    pub fn xavier(fan_in: i64, fan_out: i64) -> Self {
        Init::Uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
    }
}

/// Who computes the gradient of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Encoder and decoder: each rank sees its own samples, gradients are summed over the ranks.
    PerSample,
    /// Heads on the gathered batch: every rank computes the whole gradient, nothing is reduced.
    Global,
}

/// Parameters of one part that were registered one after another: a contiguous piece of the flat gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    part: Part,
    registered: Range<usize>,
}

impl Span {
    /// Per-sample parameters registered from `first` on and before `end`; to the last one where that is `None`.
    pub fn per_sample(first: Mark, end: Option<Mark>) -> Self {
        Span { part: Part::PerSample, registered: first.0..end.map_or(usize::MAX, |mark| mark.0) }
    }
}

impl From<Part> for Span {
    /// The whole part.
    fn from(part: Part) -> Self {
        Span { part, registered: 0..usize::MAX }
    }
}

/// A point in the order of registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(usize);

/// Number type of the forward and backward passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// fp32 throughout.
    F32,
    /// bf16 for the per-sample part, fp32 master weights, losses and statistics.
    Bf16,
    /// f64 throughout, for tests of exactness.
    F64,
}

impl Compute {
    /// Number type of master weights, gradients, losses and statistics.
    pub fn master_kind(self) -> Kind {
        if self == Compute::F64 { Kind::Double } else { Kind::Float }
    }

    /// Number type of the per-sample passes.
    pub fn kind(self) -> Kind {
        if self == Compute::Bf16 { Kind::BFloat16 } else { self.master_kind() }
    }
}

/// A parameter of an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param(usize);

#[derive(Clone, Debug)]
struct Spec {
    name: String,
    shape: Vec<i64>,
    init: Init,
    part: Part,
}

impl Spec {
    fn len(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Collects the parameters that a method registers.
#[derive(Debug, Default)]
pub struct Registry {
    specs: Vec<Spec>,
    prefix: Vec<String>,
}

impl Registry {
    /// Registers a parameter under the current prefix.
    pub fn add(&mut self, part: Part, name: &str, shape: &[i64], init: Init) -> Param {
        let mut path = self.prefix.clone();
        path.push(name.to_owned());
        self.specs.push(Spec { name: path.join("."), shape: shape.to_vec(), init, part });
        Param(self.specs.len() - 1)
    }

    /// Number of scalar parameters.
    pub fn count(&self) -> i64 {
        self.specs.iter().map(Spec::len).sum()
    }

    /// Here: after what has been registered, before what follows.
    pub fn mark(&self) -> Mark {
        Mark(self.specs.len())
    }

    /// Runs `register` with `name` appended to the prefix.
    pub fn scope<T>(&mut self, name: impl Into<String>, register: impl FnOnce(&mut Self) -> T) -> T {
        self.prefix.push(name.into());
        let out = register(self);
        self.prefix.pop();
        out
    }
}

/// Elements that the gradient buffer carries beyond the parameters: sums over the ranks that are only reported.
const TAIL: i64 = 64;
const ALIGN: i64 = 64;

/// The flat buffers and the views into them.
pub struct Arena {
    specs: Vec<Spec>,
    offsets: Vec<i64>,
    per_sample_len: i64,
    len: i64,
    compute: Compute,
    master: Tensor,
    low: Option<Tensor>,
    leaves: Vec<Tensor>,
    grad: Tensor,
}

impl Arena {
    /// Draws every parameter from (`seed`, its name): the same encoder starts the same whatever stands beside it.
    pub fn new(registry: Registry, seed: u64, compute: Compute, device: Device) -> Self {
        let specs = registry.specs;
        let (offsets, per_sample_len, len) = layout(&specs);
        let mut flat = vec![0f64; len as usize];
        for (spec, &offset) in specs.iter().zip(&offsets) {
            fill(&mut flat[offset as usize..(offset + spec.len()) as usize], spec, seed);
        }
        let master = Tensor::from_slice(&flat).to_kind(compute.master_kind()).to_device(device);
        // reported sums stand right before the reduced part, so that one reduction takes both
        let grad = Tensor::zeros([len + TAIL], (compute.master_kind(), device));
        let low = (compute == Compute::Bf16).then(|| master.narrow(0, 0, per_sample_len).to_kind(Kind::BFloat16));
        let mut arena = Arena { specs, offsets, per_sample_len, len, compute, master, low, leaves: Vec::new(), grad };
        arena.leaves = (0..arena.specs.len()).map(|i| arena.leaf(i)).collect();
        arena
    }

    fn leaf(&self, index: usize) -> Tensor {
        let spec = &self.specs[index];
        let buffer = match (&self.low, spec.part) {
            (Some(low), Part::PerSample) => low,
            _ => &self.master,
        };
        buffer.narrow(0, self.offsets[index], spec.len()).view(spec.shape.as_slice()).detach().set_requires_grad(true)
    }

    /// The leaf tensor of a parameter, in the number type of its part.
    pub fn get(&self, param: Param) -> &Tensor {
        &self.leaves[param.0]
    }

    /// Number types of this arena.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Device of the buffers.
    pub fn device(&self) -> Device {
        self.master.device()
    }

    /// The flat master weights (`len`), padding included.
    pub fn master(&self) -> &Tensor {
        &self.master
    }

    /// The flat gradient (`len`), in the layout of [`Arena::master`].
    pub fn gradient(&self) -> Tensor {
        self.grad.narrow(0, TAIL, self.len)
    }

    /// The piece of the gradient buffer that is summed over ranks for `span`, per-sample parameters. Together the pieces of all spans
    /// are the reported sums (64), which go with the first parameter, and the per-sample gradient, padding included.
    pub fn reduced(&self, span: &Span) -> Tensor {
        let offset = |index: usize| TAIL + self.offsets[index];
        let rest = Span { registered: span.registered.end..usize::MAX, ..span.clone() };
        let before = Span { registered: 0..span.registered.start, ..span.clone() };
        let end = self.indices(&rest).next().map_or(TAIL + self.per_sample_len, offset);
        let start = match self.indices(&before).next() {
            None => 0,
            Some(_) => self.indices(span).next().map_or(end, offset),
        };
        self.grad.narrow(0, start, end - start)
    }

    /// Bytes of all that is summed over ranks.
    pub fn reduced_bytes(&self) -> usize {
        let element = if self.compute.master_kind() == Kind::Double { 8 } else { 4 };
        (TAIL + self.per_sample_len) as usize * element
    }

    /// One slot of the reported sums, `slot < 64`.
    pub fn reported(&self, slot: i64) -> Tensor {
        self.grad.narrow(0, slot, 1)
    }

    /// Leaves of a part or a span, in the order that [`Arena::store_gradients`] expects.
    pub fn leaves(&self, of: impl Into<Span>) -> Vec<Tensor> {
        self.indices(&of.into()).map(|i| self.leaves[i].shallow_clone()).collect()
    }

    fn indices(&self, span: &Span) -> impl Iterator<Item = usize> + use<'_> {
        let Span { part, registered } = span.clone();
        let end = registered.end.min(self.specs.len());
        (registered.start.min(end)..end).filter(move |&i| self.specs[i].part == part)
    }

    /// Copies gradients of a part or a span (in the order of [`Arena::leaves`]) into the flat buffer.
    pub fn store_gradients(&mut self, of: impl Into<Span>, gradients: &[Tensor]) {
        for (index, gradient) in self.indices(&of.into()).zip(gradients) {
            let mut slot = self.grad.narrow(0, TAIL + self.offsets[index], self.specs[index].len());
            if gradient.defined() {
                slot.copy_(&gradient.reshape([-1]));
            } else {
                let _ = slot.zero_();
            }
        }
    }

    /// Adds to the gradients what [`Arena::store_gradients`] would store.
    pub fn add_gradients(&mut self, of: impl Into<Span>, gradients: &[Tensor]) {
        for (index, gradient) in self.indices(&of.into()).zip(gradients) {
            if gradient.defined() {
                let mut slot = self.grad.narrow(0, TAIL + self.offsets[index], self.specs[index].len());
                slot += gradient.reshape([-1]);
            }
        }
    }

    /// To be called after the master was changed: refreshes the bf16 copy.
    pub fn sync(&mut self) {
        if let Some(low) = &mut self.low {
            low.copy_(&self.master.narrow(0, 0, self.per_sample_len));
        }
    }

    /// Number of parameters, padding excluded.
    pub fn count(&self) -> i64 {
        self.specs.iter().map(Spec::len).sum()
    }

    /// Names and shapes in registration order.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.specs.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice()))
    }

    /// Name -> copy on the CPU of the slice of `flat` (a tensor in the master's layout) that belongs to it.
    pub fn named(&self, flat: &Tensor) -> Vec<(String, Tensor)> {
        let entry = |(spec, &offset): (&Spec, &i64)| {
            let slice = flat.narrow(0, offset, spec.len()).view(spec.shape.as_slice());
            (spec.name.clone(), slice.to_device(Device::Cpu).contiguous())
        };
        self.specs.iter().zip(&self.offsets).map(entry).collect()
    }

    /// Fills `flat` (the master or an optimiser moment, in the master's layout) from named tensors.
    ///
    /// # Errors
    /// Names the first parameter that is absent or has another shape; nothing has been written then.
    pub fn fill_from(&self, flat: &mut Tensor, named: &BTreeMap<Cow<'_, str>, Tensor>) -> Result<()> {
        for spec in &self.specs {
            let found = named.get(spec.name.as_str()).map(Tensor::size);
            if found.as_deref() != Some(&spec.shape[..]) {
                let found = found.map_or("nothing".to_owned(), |shape| format!("{shape:?}"));
                return Err(Error::Mismatch(format!("{}: expected {:?}, found {found}", spec.name, spec.shape)));
            }
        }
        for (spec, &offset) in self.specs.iter().zip(&self.offsets) {
            let values = &named[spec.name.as_str()];
            flat.narrow(0, offset, spec.len()).copy_(&values.reshape([-1]));
        }
        Ok(())
    }

    /// Overwrites the parameters.
    ///
    /// # Errors
    /// As [`Arena::fill_from`].
    pub fn load(&mut self, named: &BTreeMap<Cow<'_, str>, Tensor>) -> Result<()> {
        let mut master = self.master.shallow_clone();
        tch::no_grad(|| self.fill_from(&mut master, named))?;
        tch::no_grad(|| self.sync());
        Ok(())
    }
}

/// Offsets, end of the per-sample part, end of everything.
fn layout(specs: &[Spec]) -> (Vec<i64>, i64, i64) {
    let mut offsets = vec![0; specs.len()];
    let mut end = 0;
    let mut per_sample_len = 0;
    for part in [Part::PerSample, Part::Global] {
        for (spec, offset) in specs.iter().zip(&mut offsets).filter(|(spec, _)| spec.part == part) {
            *offset = end;
            end += (spec.len() + ALIGN - 1) / ALIGN * ALIGN;
        }
        if part == Part::PerSample {
            per_sample_len = end;
        }
    }
    (offsets, per_sample_len, end)
}

fn fill(slot: &mut [f64], spec: &Spec, seed: u64) {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ name_hash(&spec.name));
    match spec.init {
        Init::Constant(value) => slot.fill(value),
        Init::Normal(std) => slot.iter_mut().for_each(|v| {
            let draw: f64 = StandardNormal.sample(&mut rng);
            *v = std * draw;
        }),
        Init::Uniform(bound) => {
            let uniform = Uniform::new(-bound, bound);
            slot.iter_mut().for_each(|v| *v = uniform.sample(&mut rng));
        }
        Init::SinCos { grid, dim } => slot[dim as usize..].copy_from_slice(&sincos(grid, dim)),
    }
}

/// Sine-cosine positions of a `grid` x `grid` token map, row by row: grid^2 * dim values; columns in the first half of a token, rows in
/// the second (MAE).
pub fn sincos(grid: i64, dim: i64) -> Vec<f64> {
    let quarter = dim / 4;
    let frequency = |i: i64| 1.0 / 10_000f64.powf(i as f64 / quarter as f64);
    let mut values = Vec::with_capacity((grid * grid * dim) as usize);
    for row in 0..grid {
        for column in 0..grid {
            for place in [column, row] {
                values.extend((0..quarter).map(|i| (place as f64 * frequency(i)).sin()));
                values.extend((0..quarter).map(|i| (place as f64 * frequency(i)).cos()));
            }
        }
    }
    values
}

/// FNV-1a: a name's stream must not depend on the compiler's hasher.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
