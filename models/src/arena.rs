//! All parameters of a method in one flat buffer.
//!
//! Offsets are padded to 64 elements. Every parameter is a leaf tensor that is a view into the buffer, so the
//! optimiser and the all-reduce work on one flat tensor while the model sees named weights. In bf16 runs the
//! per-sample group has one bf16 copy for forward and backward passes; the master stays fp32.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::registry::{Param, ParameterGroup, Registry, Span, Spec};
use eqr_device::many_tensors::{add_each, copy_each};

/// Number of elements at the start of the gradient buffer, before the parameters' gradients. They hold values
/// that are summed over the ranks for reporting only.
const REPORTED: i64 = 64;
const ALIGN: i64 = 64;

/// The flat buffers and the views into them.
pub struct Arena {
    specs: Vec<Spec>,
    offsets: Vec<i64>,
    per_sample_len: i64,
    len: i64,
    compute: Compute,
    master: Tensor,
    /// The per-sample group in bf16.
    low: Option<Tensor>,
    leaves: Vec<Tensor>,
    grad: Tensor,
}

impl Arena {
    /// Initialises every parameter from `seed` and its name, so an encoder has the same initial weights with
    /// every method.
    pub fn new(registry: Registry, seed: u64, compute: Compute, device: Device) -> Self {
        let specs = registry.specs;
        let (offsets, per_sample_len, len) = layout(&specs);
        let mut flat = vec![0f64; len as usize];
        for (spec, &offset) in specs.iter().zip(&offsets) {
            let values = &mut flat[offset as usize..(offset + spec.len()) as usize];
            spec.init.fill(values, seed, &spec.name);
        }
        let master = Tensor::from_slice(&flat).to_kind(compute.master_kind()).to_device(device);
        // the reported sums come right before the reduced group, so that one reduction covers both
        let grad = Tensor::zeros([len + REPORTED], (compute.master_kind(), device));
        let low =
            (compute == Compute::Bf16).then(|| master.narrow(0, 0, per_sample_len).to_kind(Kind::BFloat16));
        let mut arena =
            Arena { specs, offsets, per_sample_len, len, compute, master, low, leaves: Vec::new(), grad };
        arena.leaves = (0..arena.specs.len()).map(|i| arena.leaf(i)).collect();
        arena
    }

    fn leaf(&self, index: usize) -> Tensor {
        let spec = &self.specs[index];
        let buffer = match (&self.low, spec.group) {
            (Some(low), ParameterGroup::PerSample) => low,
            _ => &self.master,
        };
        buffer
            .narrow(0, self.offsets[index], spec.len())
            .view(spec.shape.as_slice())
            .detach()
            .set_requires_grad(true)
    }

    /// The leaf tensor of a parameter, in the floating-point type of its group.
    pub fn get(&self, param: Param) -> &Tensor {
        &self.leaves[param.0]
    }

    /// Floating-point types of this arena.
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
        self.grad.narrow(0, REPORTED, self.len)
    }

    /// The slice of the gradient buffer that is summed over the ranks for `span`, a span of the per-sample
    /// group. The slices of all spans together cover the 64 reported sums and the per-sample gradient,
    /// padding included. The reported sums are in the slice of the first parameter.
    pub fn reduced(&self, span: &Span) -> Tensor {
        let offset = |index: usize| REPORTED + self.offsets[index];
        let rest = Span { registered: span.registered.end..usize::MAX, ..span.clone() };
        let before = Span { registered: 0..span.registered.start, ..span.clone() };
        let end = self.indices(&rest).next().map_or(REPORTED + self.per_sample_len, offset);
        let start = match self.indices(&before).next() {
            None => 0,
            Some(_) => self.indices(span).next().map_or(end, offset),
        };
        self.grad.narrow(0, start, end - start)
    }

    /// Total number of bytes summed over the ranks.
    pub fn reduced_bytes(&self) -> usize {
        let element = if self.compute.master_kind() == Kind::Double { 8 } else { 4 };
        (REPORTED + self.per_sample_len) as usize * element
    }

    /// One slot of the reported sums, `slot < 64`.
    pub fn reported(&self, slot: i64) -> Tensor {
        self.grad.narrow(0, slot, 1)
    }

    /// Leaves of a group or a span, in the order that [`Arena::store_gradients`] expects.
    pub fn leaves(&self, span: impl Into<Span>) -> Vec<Tensor> {
        self.indices(&span.into()).map(|i| self.leaves[i].shallow_clone()).collect()
    }

    fn indices(&self, span: &Span) -> impl Iterator<Item = usize> + use<'_> {
        let Span { group, registered } = span.clone();
        let end = registered.end.min(self.specs.len());
        (registered.start.min(end)..end).filter(move |&i| self.specs[i].group == group)
    }

    /// Copies the gradients of a group or a span, in the order of [`Arena::leaves`], into the flat buffer.
    pub fn store_gradients(&mut self, span: impl Into<Span>, gradients: &[Tensor]) {
        let slots = self.gradient_slots(&span.into());
        let (found, missing): (Vec<_>, Vec<_>) =
            slots.into_iter().zip(gradients).partition(|(_, gradient)| gradient.defined());
        let (slots, gradients) = unzipped(found);
        copy_each(&slots, &gradients);
        for (mut slot, _) in missing {
            let _ = slot.zero_();
        }
    }

    /// Like [`Arena::store_gradients`], but adds to the stored gradients.
    pub fn add_gradients(&mut self, span: impl Into<Span>, gradients: &[Tensor]) {
        let slots = self.gradient_slots(&span.into());
        let found = slots.into_iter().zip(gradients).filter(|(_, gradient)| gradient.defined());
        let (slots, gradients) = unzipped(found);
        add_each(&slots, &gradients);
    }

    /// The places of a span's gradients in the flat buffer, in the order of [`Arena::leaves`] and with the
    /// parameters' shapes.
    fn gradient_slots(&self, span: &Span) -> Vec<Tensor> {
        let slot = |index: usize| {
            let spec = &self.specs[index];
            let flat = self.grad.narrow(0, REPORTED + self.offsets[index], spec.len());
            flat.view(spec.shape.as_slice())
        };
        self.indices(span).map(slot).collect()
    }

    /// Refreshes the bf16 copy. Must be called after every change to the master weights.
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

    /// The name of each parameter with a CPU copy of its slice of `flat`, a tensor in the master's layout.
    pub fn named(&self, flat: &Tensor) -> Vec<(String, Tensor)> {
        let copy = |(spec, &offset): (&Spec, &i64)| {
            let slice = flat.narrow(0, offset, spec.len()).view(spec.shape.as_slice());
            (spec.name.clone(), slice.to_device(Device::Cpu).contiguous())
        };
        self.specs.iter().zip(&self.offsets).map(copy).collect()
    }

    /// Fills `flat` (the master or an optimiser moment, in the master's layout) from named tensors.
    ///
    /// # Errors
    /// Fails if a parameter is missing or has another shape, and names the first one. Nothing is written in
    /// that case.
    pub fn fill_from(&self, flat: &mut Tensor, named: &BTreeMap<Cow<'_, str>, Tensor>) -> Result<()> {
        for spec in &self.specs {
            let found = named.get(spec.name.as_str()).map(Tensor::size);
            if found.as_deref() != Some(&spec.shape[..]) {
                let found = found.map_or("nothing".to_owned(), |shape| format!("{shape:?}"));
                return Err(Error::Mismatch(format!(
                    "{}: expected {:?}, found {found}",
                    spec.name, spec.shape
                )));
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
    /// Same as [`Arena::fill_from`].
    pub fn load(&mut self, named: &BTreeMap<Cow<'_, str>, Tensor>) -> Result<()> {
        let mut master = self.master.shallow_clone();
        tch::no_grad(|| self.fill_from(&mut master, named))?;
        tch::no_grad(|| self.sync());
        Ok(())
    }
}

fn unzipped<'a>(pairs: impl IntoIterator<Item = (Tensor, &'a Tensor)>) -> (Vec<Tensor>, Vec<Tensor>) {
    pairs.into_iter().map(|(slot, gradient)| (slot, gradient.shallow_clone())).unzip()
}

/// The offset of each parameter, the end of the per-sample group, and the total length.
fn layout(specs: &[Spec]) -> (Vec<i64>, i64, i64) {
    let mut offsets = vec![0; specs.len()];
    let mut end = 0;
    let mut per_sample_len = 0;
    for group in [ParameterGroup::PerSample, ParameterGroup::Global] {
        for (spec, offset) in specs.iter().zip(&mut offsets).filter(|(spec, _)| spec.group == group) {
            *offset = end;
            end += (spec.len() + ALIGN - 1) / ALIGN * ALIGN;
        }
        if group == ParameterGroup::PerSample {
            per_sample_len = end;
        }
    }
    (offsets, per_sample_len, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;

    /// Three per-sample parameters of 3, 70 and 5 elements with a global one of 2 between them.
    fn registry() -> (Registry, [crate::registry::Mark; 2]) {
        let mut registry = Registry::default();
        let mut add = |group, name: &str, length| registry.add(group, name, &[length], Init::Normal(1.0));
        add(ParameterGroup::PerSample, "a", 3);
        add(ParameterGroup::Global, "head", 2);
        let first = registry.mark();
        registry.add(ParameterGroup::PerSample, "b", &[7, 10], Init::Normal(1.0));
        let second = registry.mark();
        registry.add(ParameterGroup::PerSample, "c", &[5], Init::Normal(1.0));
        (registry, [first, second])
    }

    fn arena(compute: Compute) -> Arena {
        Arena::new(registry().0, 1, compute, Device::Cpu)
    }

    #[test]
    fn groups_are_contiguous_and_aligned() {
        let arena = arena(Compute::F32);
        assert_eq!((&arena.offsets[..], arena.per_sample_len, arena.len), (&[0, 256, 64, 192][..], 256, 320));
        assert_eq!((arena.count(), arena.reduced_bytes()), (80, 4 * 320));
    }

    /// The slices cover the reported sums first, then every element of the per-sample group exactly once.
    #[test]
    fn spans_tile_what_is_summed_over_the_ranks() {
        let (_, [first, second]) = registry();
        let arena = arena(Compute::F32);
        let spans = [(Default::default(), Some(first)), (first, Some(second)), (second, None)];
        let pieces = spans.map(|(start, end)| arena.reduced(&Span::per_sample(start, end)).numel());
        assert_eq!(pieces, [64 + 64, 128, 64]);
        assert_eq!(arena.reduced(&ParameterGroup::PerSample.into()).numel(), 64 + 256);
    }

    #[test]
    fn gradients_are_stored_added_and_named() {
        let mut arena = arena(Compute::F32);
        let gradients = |factor: f64| {
            arena.leaves(ParameterGroup::PerSample).iter().map(|leaf| leaf.detach() * factor).collect()
        };
        let (once, twice): (Vec<Tensor>, Vec<Tensor>) = (gradients(1.0), gradients(2.0));
        arena.store_gradients(ParameterGroup::PerSample, &once);
        arena.add_gradients(ParameterGroup::PerSample, &twice);
        for ((name, gradient), (_, value)) in
            arena.named(&arena.gradient()).iter().zip(arena.named(arena.master()))
        {
            let expected = if name == "head" { value.zeros_like() } else { value * 3.0 };
            assert!(gradient.allclose(&expected, 1e-6, 0.0, false), "{name}");
        }
    }

    #[test]
    fn loading_reaches_leaves_and_the_bf16_copy_or_writes_nothing() {
        let mut arena = arena(Compute::Bf16);
        let mut named: BTreeMap<Cow<'_, str>, Tensor> = arena
            .named(&arena.master().ones_like())
            .into_iter()
            .map(|(name, one)| (name.into(), one * 3.0))
            .collect();
        let c = named.remove("c").unwrap();
        let error = arena.load(&named).unwrap_err().to_string();
        assert!(error.contains("c: expected [5], found nothing"), "{error}");
        assert!(arena.leaves(ParameterGroup::Global)[0].ne(3.0).all().int64_value(&[]) == 1);
        named.insert("c".into(), c);
        arena.load(&named).unwrap();
        for group in [ParameterGroup::PerSample, ParameterGroup::Global] {
            assert!(arena.leaves(group).iter().all(|leaf| leaf.eq(3.0).all().int64_value(&[]) == 1));
        }
    }

    #[test]
    fn a_parameter_starts_the_same_in_every_registry() {
        let mut registry = Registry::default();
        registry.add(ParameterGroup::Global, "b", &[7, 10], Init::Normal(1.0));
        let alone = Arena::new(registry, 1, Compute::F64, Device::Cpu);
        let b = arena(Compute::F64).named(arena(Compute::F64).master()).remove(2).1;
        assert!(alone.named(alone.master())[0].1.equal(&b));
    }
}
