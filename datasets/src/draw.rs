//! Random draws of samples, keyed by (seed, epoch, sample index, purpose).

pub use eqr_random::{Purpose, sample_rng as rng};
