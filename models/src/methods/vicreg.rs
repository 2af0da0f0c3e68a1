//! VICReg (Bardes et al. 2022): 25 MSE(z1, z2) + 25 V + 1 C on a projection of the whole y.

use tch::Tensor;

use super::{Method, ModelConfig, Targets, Term};
use crate::arena::{Arena, Registry};
use crate::heads::{HeadConfig, Projector};
use crate::losses::{covariance, mse, variance};

/// VICReg's three terms with the weights of its paper. z1, z2: (N, D).
pub fn vicreg_terms(z1: &Tensor, z2: &Tensor) -> Vec<Term> {
    vec![
        ("invariance", mse(z1, z2) * 25.0),
        ("variance", (variance(z1) + variance(z2)) * (25.0 / 2.0)),
        ("covariance", covariance(z1) + covariance(z2)),
    ]
}

pub struct Vicreg {
    projector: Projector,
    inputs: i64,
    heads: HeadConfig,
}

impl Vicreg {
    /// One projector on the whole y: out - hidden - hidden - embed.
    pub fn new(reg: &mut Registry, config: &ModelConfig) -> Self {
        let (inputs, heads) = (config.encoder.out, config.heads);
        Vicreg { projector: Projector::new(reg, "projector", inputs, heads), inputs, heads }
    }
}

impl Method for Vicreg {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, _targets: &Targets) -> Vec<Term> {
        vicreg_terms(&self.projector.forward(p, y1), &self.projector.forward(p, y2))
    }

    fn forward_flops(&self) -> f64 {
        2.0 * 2.0 * Projector::products(self.inputs, self.heads)
    }
}
