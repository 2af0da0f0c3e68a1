//! What tch lacks of libtorch and of GPUs. The functions of libtorch are called by the C++ of `native/`.
//!
//! - [`stream`], [`settings`]: streams, events and settings of GPUs
//! - [`graph`]: work that is recorded once and launched whole
//! - [`many_tensors`], [`vector_jacobian`]: fused operations, and gradients of tensors
//! - [`kernels`]: CUDA kernels, compiled at run time
//! - [`shared_library`]: libraries that may be missing

pub mod error;
pub mod graph;
pub mod kernels;
pub mod many_tensors;
pub mod settings;
pub mod shared_library;
pub mod stream;
pub mod test_device;
pub mod vector_jacobian;
