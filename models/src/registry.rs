//! Registration of parameters: their names, shapes, groups and order.

use std::ops::Range;

use crate::init::Init;

/// How the ranks compute the gradient of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterGroup {
    /// Encoder and decoder. Each rank processes its own samples, and the gradients are summed over the ranks.
    PerSample,
    /// Heads on the gathered batch. Every rank computes the full gradient, so nothing is summed.
    Global,
}

/// Consecutively registered parameters of one group. They occupy a contiguous slice of the flat gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub(crate) group: ParameterGroup,
    pub(crate) registered: Range<usize>,
}

impl Span {
    /// Per-sample parameters registered from `first` up to but not including `end`, or up to the last one if
    /// `end` is `None`.
    pub fn per_sample(first: Mark, end: Option<Mark>) -> Self {
        Span { group: ParameterGroup::PerSample, registered: first.0..end.map_or(usize::MAX, |mark| mark.0) }
    }
}

impl From<ParameterGroup> for Span {
    /// The whole group.
    fn from(group: ParameterGroup) -> Self {
        Span { group, registered: 0..usize::MAX }
    }
}

/// A position in the registration order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(usize);

/// Handle of a registered parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param(pub(crate) usize);

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub name: String,
    pub shape: Vec<i64>,
    pub init: Init,
    pub group: ParameterGroup,
}

impl Spec {
    pub fn len(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Collects the parameters that a method registers.
#[derive(Debug, Default)]
pub struct Registry {
    pub(crate) specs: Vec<Spec>,
    prefix: Vec<String>,
}

impl Registry {
    /// Registers a parameter under the current prefix.
    pub fn add(&mut self, group: ParameterGroup, name: &str, shape: &[i64], init: Init) -> Param {
        let mut path = self.prefix.clone();
        path.push(name.to_owned());
        self.specs.push(Spec { name: path.join("."), shape: shape.to_vec(), init, group });
        Param(self.specs.len() - 1)
    }

    /// Number of scalar parameters.
    pub fn count(&self) -> i64 {
        self.specs.iter().map(Spec::len).sum()
    }

    /// The current position in the registration order.
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
