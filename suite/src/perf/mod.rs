//! `eqr-bench perf`: the speed of one stage, compared with a ceiling measured in the same process.
//! Timings are benchmarks, never assertions.
//!
//! | stage | measures | ceiling |
//! |---|---|---|
//! | [`train`](mod@train) | a training step: gradients and optimiser | the fastest matrix product |
//! | [`transforms`](mod@transforms) | the two views of a batch of photographs | copies of both views |
//! | [`load`](mod@load) | views of photographs from a pack | decoding the same files in memory |
//! | [`render`](mod@render) | images of 3D objects | images of the empty floor |
//! | [`probe`](mod@probe) | an epoch of the batched MLP probes | the fastest matrix product |
//! | [`allreduce`](mod@allreduce) | summing a gradient over the ranks | a copy of the gradient |
//! | [`scale`](mod@scale) | a step on up to 1,024 devices, predicted by [`scaling`] | none |

pub mod allreduce;
mod gemm;
pub mod interconnect;
pub mod load;
mod peak_memory;
pub mod probe;
pub mod render;
mod result;
pub mod scale;
pub mod scaling;
mod sum_afterwards;
mod timing;
pub mod train;
mod training_setup;
pub mod transforms;

pub use allreduce::{AllreduceArgs, allreduce};
pub use gemm::gemm_ceiling;
pub use load::{LoadArgs, load};
pub use probe::{ProbeArgs, probe};
pub use render::{RenderArgs, render};
pub use scale::{ScaleArgs, scale};
pub use train::train;
pub use training_setup::{TrainArgs, TrainingSetup};
pub use transforms::{TransformsArgs, transforms};
