//! The methods in the tables, one file per method. To add a method, add a file, a [`MethodKind`] variant with
//! its name, and a line in [`build`]. To add a joint-embedding loss, add a file in `joint/`, an [`Ssl`]
//! variant and its name.

mod config;
mod direct;
mod joint;
mod joint_embedding;
mod kind;
mod method;
mod ours;
mod sie;
mod supervised;
mod vicreg_cls;

use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::vit::Vit;

pub use config::ModelConfig;
pub use joint::{LossConfig, Ssl};
pub use kind::{
    KnownTransforms, MethodKind, OursVariant, PairMode, SieKind, SieRecipe, TransformName, method_names,
};
pub use method::{Method, PairInput, Predictor, Targets, Term};

/// Cost of the backward pass through matrix products, as a multiple of the forward pass.
pub const BACKWARD_COST: f64 = 2.0;

/// An encoder and the method that trains it.
pub struct Model {
    /// The encoder.
    pub encoder: Vit,
    /// `None` for the untrained encoder.
    pub method: Option<Box<dyn Method>>,
}

impl Model {
    /// Floating-point operations (multiplications and additions) in the matrix products of one step on
    /// `batch` pairs. They include the encoder on the views, the heads and the decoder, forward and backward.
    pub fn step_flops(&self, batch: i64) -> f64 {
        let method = self.method.as_ref().map_or(0.0, |method| method.forward_flops());
        let takes_other = self.method.as_ref().is_some_and(|method| method.takes_other_view1());
        let views = if takes_other { 3.0 } else { 2.0 };
        (1.0 + BACKWARD_COST) * batch as f64 * (views * self.encoder.config().forward_flops() + method)
    }
}

/// Registers the parameters of an encoder and a method. A method registers only the parameters that it uses.
///
/// # Errors
/// Fails if a shape is invalid, if the suite lacks a transform that the method needs, or if the method has no
/// network.
pub fn build(kind: &MethodKind, config: &ModelConfig, reg: &mut Registry) -> Result<Model> {
    if !kind.has_network() {
        return Err(Error::Invalid(format!("`{kind}` has no network")));
    }
    let encoder = Vit::new(reg, config.encoder)?;
    let method: Option<Box<dyn Method>> = match kind {
        MethodKind::Ours { ssl, variant } => {
            Some(Box::new(ours::Ours::new(reg, config, ssl.unwrap_or(config.loss.ssl), *variant)?))
        }
        MethodKind::Sie(kind) => Some(Box::new(sie::Sie::new(reg, config, kind)?)),
        MethodKind::Ssl(ssl) => Some(Box::new(joint_embedding::JointEmbedding::new(reg, config, *ssl))),
        MethodKind::Supervised => Some(Box::new(supervised::Supervised::new(reg, config))),
        MethodKind::VicregCls => Some(Box::new(vicreg_cls::VicregCls::new(reg, config))),
        MethodKind::Direct(transform) => Some(Box::new(direct::Direct::new(reg, config, *transform)?)),
        MethodKind::RandomInit | MethodKind::PixelPca { .. } => None,
    };
    Ok(Model { encoder, method })
}
