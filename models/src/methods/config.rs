//! What a method is configured with.

use serde::{Deserialize, Serialize};

use super::ssl::Ssl;
use crate::decoder::DecoderConfig;
use crate::error::{Error, Result};
use crate::heads::HeadConfig;
use crate::vit::VitConfig;

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
