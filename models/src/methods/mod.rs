//! The methods of the tables. One file a method, which reads like its equation. A new method is a file, a
//! [`MethodKind`] variant with its name, and a line in [`build`]; a new joint-embedding loss is a file and an
//! [`Ssl`] variant.

mod barlow;
mod direct;
mod kind;
mod ours;
mod sie;
mod simclr;
mod ssl;
mod supervised;
mod vicreg;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::arena::Arena;
use crate::decoder::DecoderConfig;
use crate::error::{Error, Result};
use crate::heads::HeadConfig;
use crate::registry::Registry;
use crate::vit::{Encoded, Vit, VitConfig};

pub use kind::{KnownTransforms, MethodKind, PairMode, SieKind, TransformName, method_names};
pub use ours::ReconstructionPair;
pub use ssl::Ssl;

/// Weights and switches of the losses; the defaults are protocol section 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of L_ssl in Ours.
    pub lambda_ssl: f64,
    /// Weight of the reconstruction in Ours.
    pub lambda_recon: f64,
    /// L_ssl of the rows of Ours whose name does not say it.
    pub ssl: Ssl,
    /// SimCLR's temperature, above 0. The default is that of its ImageNet models; its CIFAR-10 ones take 0.5.
    pub temperature: f64,
    /// Barlow Twins' weight of the off-diagonal entries.
    pub barlow_lambda: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig {
            lambda_ssl: 1.0,
            lambda_recon: 1.0,
            ssl: Ssl::default(),
            temperature: 0.1,
            barlow_lambda: 0.0051,
        }
    }
}

impl LossConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// Names the value out of range.
    pub fn validate(&self) -> Result<()> {
        let LossConfig { lambda_ssl, lambda_recon, ssl: _, temperature, barlow_lambda } = *self;
        for (key, value) in
            [("lambda_ssl", lambda_ssl), ("lambda_recon", lambda_recon), ("barlow_lambda", barlow_lambda)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Invalid(format!("model.loss.{key} = {value}: must be 0 or above")));
            }
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::Invalid(format!("model.loss.temperature = {temperature}: must be above 0")));
        }
        Ok(())
    }
}

/// What a method is built from.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The encoder.
    pub encoder: VitConfig,
    /// Heads between y and the losses.
    pub heads: HeadConfig,
    /// The reconstruction decoder.
    pub decoder: DecoderConfig,
    /// Loss weights.
    pub loss: LossConfig,
    /// Classes of the data set.
    pub classes: i64,
    /// Transforms of a pair: task name and length of its parameter vector.
    pub transforms: Vec<(String, i64)>,
    /// Whether SIE's predictor sees a constant 1 beside the parameters.
    pub sie_constant: bool,
}

/// What the losses get of a batch beside its images.
pub struct Targets {
    /// (N), i64.
    pub labels: Tensor,
    /// (N, sum of lengths) in the order of [`ModelConfig::transforms`].
    pub parameters: Tensor,
}

/// A named, weighted term of a loss; a method's loss is the sum of its terms.
pub type Term = (&'static str, Tensor);

/// A pretraining method. Its loss is cut at y (design decision "The batch is cut at y").
pub trait Method {
    /// Terms on the representations of the whole batch: y1, y2 are (N, out), N the global batch.
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term>;

    /// Term that is a mean over pairs, on some of the pairs: view 2 is (n, 3, H, W), normalised.
    fn pair_term(&self, _p: &Arena, _view1: &Encoded, _view2: &Encoded, _images2: &Tensor) -> Option<Term> {
        None
    }

    /// Pixels of view 2 from the two views' tokens, for methods that reconstruct.
    fn reconstruct(&self, _p: &Arena, _pair: ReconstructionPair<'_>) -> Option<Tensor> {
        None
    }

    /// The map from the embedding of one view to that of another, for methods that learn it.
    fn predictor(&self) -> Option<&dyn Predictor> {
        None
    }

    /// Multiplications and additions of the heads' and the decoder's matrix products in one forward pass of
    /// one pair.
    fn forward_flops(&self) -> f64;
}

/// The equivariant embedding of a view, and its prediction from another view of the same image or object.
pub trait Predictor {
    /// z of all of y at once: (N, out) -> (N, D), fp32. The head has no running statistics, so z of a view
    /// depends on the rest of the batch: where values are compared, y has to be a whole split in one batch.
    fn embed(&self, p: &Arena, y: &Tensor) -> Tensor;

    /// The embeddings (N, D) of second views from those of the first, z (N, D), and the
    /// [`Targets::parameters`] of the transformations between them.
    fn predict(&self, p: &Arena, z: &Tensor, parameters: &Tensor) -> Tensor;
}

/// An encoder with the method that trains it, both registered.
pub struct Model {
    /// The encoder.
    pub encoder: Vit,
    /// `None` for the untrained floor.
    pub method: Option<Box<dyn Method>>,
}

impl Model {
    /// Multiplications and additions of the matrix products of one step on `batch` pairs: both views through
    /// the encoder, heads and decoder of each pair; backward = 2 x forward.
    pub fn step_flops(&self, batch: i64) -> f64 {
        let method = self.method.as_ref().map_or(0.0, |method| method.forward_flops());
        3.0 * batch as f64 * (2.0 * self.encoder.config().forward_flops() + method)
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
        MethodKind::Ssl(ssl) => Some(Box::new(ssl::JointEmbedding::new(reg, config, *ssl))),
        MethodKind::Supervised => Some(Box::new(supervised::Supervised::new(reg, config))),
        MethodKind::Direct => Some(Box::new(direct::Direct::new(reg, config))),
        MethodKind::RandomInit => None,
    };
    Ok(Model { encoder, method })
}

/// Columns of [`Targets::parameters`] of the known transforms: (first column, length) each.
///
/// # Errors
/// A transform that the suite does not have.
fn columns(config: &ModelConfig, known: &KnownTransforms) -> Result<Vec<(i64, i64)>> {
    let mut start = 0;
    let mut all = Vec::new();
    for (name, length) in &config.transforms {
        all.push((name.as_str(), (start, *length)));
        start += length;
    }
    let find = |short: &TransformName| {
        all.iter().find(|(name, _)| *name == short.task()).map(|(_, range)| *range).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            Error::Invalid(format!(
                "SIE needs the transform `{}`; the suite has {}",
                short.task(),
                names.join(", ")
            ))
        })
    };
    match known {
        KnownTransforms::All => Ok(all.iter().map(|(_, range)| *range).collect()),
        KnownTransforms::Some(shorts) => shorts.iter().map(find).collect(),
    }
}
