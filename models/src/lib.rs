//! Models of eqr-bench: encoder, heads, decoder, methods and their losses, the parameter arena and its optimiser. Knows tensors;
//! knows no files, no MPI and no data sets.

mod adam_update;
pub mod arena;
pub mod collective;
pub mod decoder;
pub mod error;
pub mod heads;
pub mod layers;
pub mod losses;
pub mod methods;
pub mod optim;
pub mod positions;
pub mod step;
pub mod vit;

pub use arena::{Arena, Compute, Registry};
pub use collective::{Collective, Solo};
pub use error::{Error, Result};
pub use methods::{MethodKind, Model, ModelConfig};
