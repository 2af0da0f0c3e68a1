//! Interchangeable joint-embedding losses. Each is a function of the two views' embeddings of the global
//! batch. To add a loss, add a file here, a variant of [`Ssl`] with its line in [`Ssl::terms`], and a name.

mod barlow;
mod simclr;
mod vicreg;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::methods::method::Term;

/// A joint-embedding loss.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Ssl {
    /// Bardes et al. 2022.
    #[default]
    Vicreg,
    /// Chen et al. 2020.
    Simclr,
    /// Zbontar et al. 2021.
    Barlow,
}

impl Ssl {
    /// The terms of the loss on embeddings z1, z2 (N, D), where N is the global batch size.
    pub fn terms(self, z1: &Tensor, z2: &Tensor, loss: &LossConfig) -> Vec<Term> {
        match self {
            Ssl::Vicreg => vicreg::terms(z1, z2),
            Ssl::Simclr => simclr::terms(z1, z2, loss.temperature),
            Ssl::Barlow => barlow::terms(z1, z2, loss.barlow_lambda),
        }
    }
}

/// Weights and switches of the losses. The defaults are those of protocol section 2; the weight of the
/// reconstruction, which the paper does not give, is the one that docs/results.md chose on validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of L_ssl in Ours.
    pub lambda_ssl: f64,
    /// Weight of the reconstruction in Ours.
    pub lambda_recon: f64,
    /// L_ssl for rows of Ours whose name does not specify a loss.
    pub ssl: Ssl,
    /// SimCLR's temperature, above 0. The default is the value of the paper's ImageNet models. Its CIFAR-10
    /// models use 0.5.
    pub temperature: f64,
    /// Barlow Twins' weight of the off-diagonal entries.
    pub barlow_lambda: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig {
            lambda_ssl: 1.0,
            lambda_recon: 100.0,
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
    /// Fails if a value is out of range, and names it.
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
