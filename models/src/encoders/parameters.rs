//! The named tensors that an encoder is built from, handed out by name and shape.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// Most problems that a message lists.
const LISTED: usize = 24;

/// Named tensors of which each is taken once. What is missing, has another shape or is never taken is
/// collected, and [`Parameters::finish`] lists it.
pub(super) struct Parameters {
    tensors: BTreeMap<String, Tensor>,
    taken: BTreeSet<String>,
    problems: Vec<String>,
    device: Device,
}

impl Parameters {
    /// The tensors, as float32 on `device`.
    pub fn new(tensors: BTreeMap<String, Tensor>, device: Device) -> Parameters {
        Parameters { tensors, taken: BTreeSet::new(), problems: Vec::new(), device }
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether a name begins with `prefix`.
    pub fn has_any(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// Shape of a tensor; empty if there is none of this name.
    pub fn shape(&self, name: &str) -> Vec<i64> {
        self.tensors.get(name).map(Tensor::size).unwrap_or_default()
    }

    /// How many numbers from 0 follow `prefix` in the names: the blocks of `blocks.`.
    pub fn count(&self, prefix: &str) -> i64 {
        (0..).take_while(|index| self.has_any(&format!("{prefix}{index}."))).count() as i64
    }

    /// The tensor `name`, which must have `shape`; axes of length 1 may be missing. Zeros if it does not fit,
    /// which [`Parameters::finish`] then reports.
    pub fn take(&mut self, name: &str, shape: &[i64]) -> Tensor {
        self.taken.insert(name.to_owned());
        let without_ones =
            |shape: &[i64]| shape.iter().copied().filter(|&side| side != 1).collect::<Vec<_>>();
        match self.tensors.get(name) {
            Some(tensor) if without_ones(&tensor.size()) == without_ones(shape) => {
                return tensor.to_device(self.device).to_kind(Kind::Float).reshape(shape).contiguous();
            }
            Some(tensor) => {
                self.problems.push(format!("  {name}: has {:?}, expected {shape:?}", tensor.size()));
            }
            None => self.problems.push(format!("  {name}: missing, expected {shape:?}")),
        }
        Tensor::zeros(shape, (Kind::Float, self.device))
    }

    /// Like [`Parameters::take`]; `None` if there is no tensor of this name.
    pub fn take_if(&mut self, name: &str, shape: &[i64]) -> Option<Tensor> {
        self.has(name).then(|| self.take(name, shape))
    }

    /// Adds a problem of the parameters as a whole.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(format!("  {}", text.into()));
    }

    /// Fails if anything does not fit.
    ///
    /// # Errors
    /// One line for each parameter that is missing, has another shape, or is not part of the architecture.
    pub fn finish(self) -> Result<()> {
        let unread = self.tensors.iter().filter(|(name, _)| !self.taken.contains(*name));
        let unread = unread.map(|(name, tensor)| format!("  {name}: has {:?}, not read", tensor.size()));
        let mut lines: Vec<String> = self.problems.iter().cloned().chain(unread).collect();
        if lines.is_empty() {
            return Ok(());
        }
        if lines.len() > LISTED {
            let more = lines.len() - LISTED;
            lines.truncate(LISTED);
            lines.push(format!("  and {more} more"));
        }
        Err(Error::Mismatch(lines.join("\n")))
    }
}
