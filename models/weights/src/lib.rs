//! Reads the files that published weights come in: what `torch.save` writes and safetensors. Nothing of a
//! file is run. The crate knows neither models nor libtorch.
//!
//! [`Weights::open`] lists the tensors of a file by name. The values are read when they are asked for.
//!
//! ```text
//! file ──> pickle (a tree of inert values) ──> named tensors ──> bytes of a storage ──> RawTensor
//! ```

mod element;
mod error;
mod legacy_file;
mod pickle;
mod python_global;
mod safetensors_file;
mod shard_index;
mod state_tree;
mod tensor;
mod torch_zip;
mod weights;

pub use element::Element;
pub use error::{Error, Result};
pub use pickle::parse;
pub use shard_index::shards;
pub use tensor::RawTensor;
pub use weights::{Listed, Weights};
