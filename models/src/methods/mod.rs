//! The methods of the tables. One file a method, which reads like its equation. A new method is a file, a
//! [`MethodKind`] variant with its name, and a line in [`build`]. A new joint-embedding loss is a file in
//! `joint/`, an [`Ssl`] variant and its name.

mod config;
mod direct;
mod joint;
mod joint_embedding;
mod kind;
mod method;
mod ours;
mod sie;
mod supervised;

use crate::error::Result;
use crate::registry::Registry;
use crate::vit::Vit;

pub use config::ModelConfig;
pub use joint::{LossConfig, Ssl};
pub use kind::{KnownTransforms, MethodKind, PairMode, SieKind, TransformName, method_names};
pub use method::{Method, Predictor, ReconstructionPair, Targets, Term};

/// Cost of the backward pass through matrix products, as a multiple of the forward pass.
pub const BACKWARD_COST: f64 = 2.0;

/// An encoder with the method that trains it, both registered.
pub struct Model {
    /// The encoder.
    pub encoder: Vit,
    /// `None` for the untrained floor.
    pub method: Option<Box<dyn Method>>,
}

impl Model {
    /// Multiplications and additions of the matrix products of one step on `batch` pairs: both views through
    /// the encoder, heads and decoder of each pair, forward and backward.
    pub fn step_flops(&self, batch: i64) -> f64 {
        let method = self.method.as_ref().map_or(0.0, |method| method.forward_flops());
        (1.0 + BACKWARD_COST) * batch as f64 * (2.0 * self.encoder.config().forward_flops() + method)
    }
}

/// Registers encoder and method. A method registers only the parameters that it uses.
///
/// # Errors
/// A shape that cannot be built, or a transform that the suite does not have.
pub fn build(kind: &MethodKind, config: &ModelConfig, reg: &mut Registry) -> Result<Model> {
    let encoder = Vit::new(reg, config.encoder)?;
    let method: Option<Box<dyn Method>> = match kind {
        MethodKind::Ours { ssl, reconstruction } => {
            Some(Box::new(ours::Ours::new(reg, config, ssl.unwrap_or(config.loss.ssl), *reconstruction)?))
        }
        MethodKind::Sie(kind) => Some(Box::new(sie::Sie::new(reg, config, kind)?)),
        MethodKind::Ssl(ssl) => Some(Box::new(joint_embedding::JointEmbedding::new(reg, config, *ssl))),
        MethodKind::Supervised => Some(Box::new(supervised::Supervised::new(reg, config))),
        MethodKind::Direct => Some(Box::new(direct::Direct::new(reg, config))),
        MethodKind::RandomInit => None,
    };
    Ok(Model { encoder, method })
}
