//! Kernels of this program for GPUs. Each does in one pass over the memory what libtorch does in many.
//!
//! NVRTC compiles their CUDA C++ when they are first used, for the GPU at hand. A kernel is then tried on
//! made-up numbers. If it does not compile, or does not give what libtorch's operations give, it is not used,
//! and libtorch's operations compute in its place.

mod availability;
mod driver;
mod forms;
mod gelu;
mod jitter;
pub mod nvrtc;
mod residual_norm;
mod trial;

pub use availability::{Absence, VARIABLE, begin, description};
pub use gelu::linear_gelu;
pub use jitter::{Factors, jitter};
pub use residual_norm::{Norm, residual_norm};
