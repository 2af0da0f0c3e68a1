//! What a method is configured with.

use super::joint::LossConfig;
use crate::decoder::DecoderConfig;
use crate::heads::HeadConfig;
use crate::vit::VitConfig;

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
