//! How long a training step takes on this machine.

use std::time::Instant;

use tch::{Kind, Tensor};

/// Seconds that `step` takes after a first one, until the tensor that it returns can be read.
pub(crate) fn seconds(step: &mut dyn FnMut() -> Tensor) -> f64 {
    let mut once = || step().sum(Kind::Float).double_value(&[]);
    once();
    let start = Instant::now();
    once();
    start.elapsed().as_secs_f64()
}
