//! Configuration of an encoder and its method.

use super::joint::LossConfig;
use crate::decoder::DecoderConfig;
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
