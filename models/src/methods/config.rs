//! Configuration of an encoder and its method.

use super::joint::LossConfig;
use super::kind::{KnownTransforms, TransformName};
use crate::decoder::DecoderConfig;
use crate::error::{Error, Result};
use crate::heads::HeadConfig;
use crate::vit::VitConfig;

/// Configuration of an encoder and its method.
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
    /// Number of classes in the data set.
    pub classes: i64,
    /// Transforms between the two views: task name and length of the parameter vector.
    pub transforms: Vec<(String, i64)>,
    /// Whether SIE's predictor gets a constant 1 in addition to the parameters.
    pub sie_constant: bool,
}

impl ModelConfig {
    /// The columns of `transforms` in [`super::Targets::parameters`]: (first column, length) each.
    ///
    /// # Errors
    /// Fails if the suite lacks one of them.
    pub(crate) fn parameter_columns(&self, transforms: &KnownTransforms) -> Result<Vec<(i64, i64)>> {
        let mut start = 0;
        let mut all = Vec::new();
        for (name, length) in &self.transforms {
            all.push((name.as_str(), (start, *length)));
            start += length;
        }
        let find = |transform: &TransformName| {
            let column = all.iter().find(|(name, _)| *name == transform.task());
            column.map(|(_, columns)| *columns).ok_or_else(|| {
                let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
                Error::Invalid(format!(
                    "a method needs the transform `{}`; the suite has {}",
                    transform.task(),
                    names.join(", ")
                ))
            })
        };
        match transforms {
            KnownTransforms::All => Ok(all.iter().map(|(_, columns)| *columns).collect()),
            KnownTransforms::Some(transforms) => transforms.iter().map(find).collect(),
        }
    }
}
