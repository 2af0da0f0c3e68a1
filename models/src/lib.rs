//! Models of eqr-bench: encoder, heads, decoder, methods and their losses, the parameter arena and its
//! optimiser. The crate works on tensors only. It contains no code for files, MPI or data sets.
//!
//! A method registers its parameters ([`registry`]), which become views into one flat buffer ([`arena`]). A
//! training step ([`step`]) fills the buffer's gradient on any number of ranks ([`collective`]), and [`adam`]
//! updates it.

mod activations;
pub mod adam;
pub mod arena;
pub mod collective;
mod compute;
pub mod decoder;
mod encoder_gradient;
pub mod encoders;
mod error;
pub mod heads;
pub mod init;
mod layer_tokens;
pub mod layers;
pub mod losses;
pub mod methods;
mod normalisation;
pub mod positions;
pub mod registry;
pub mod schedule;
pub mod step;
mod step_gradient;
pub mod step_stage;
pub mod thread_team;
pub mod vit;

pub use activations::Activations;
pub use arena::Arena;
pub use collective::{Collective, Solo};
pub use compute::Compute;
pub use encoder_gradient::encoder_gradient_norms;
pub use eqr_device::test_device;
pub use error::{Error, Result};
pub use layer_tokens::{LayerTokens, Place};
pub use methods::{MethodKind, Model, ModelConfig};
pub use normalisation::Normalisation;
pub use registry::{ParameterGroup, Registry};
pub use step_gradient::StepGradient;
