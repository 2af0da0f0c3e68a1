//! A method whose only loss is a joint-embedding loss, on a projection of the whole y.

use tch::Tensor;

use super::config::ModelConfig;
use super::joint::{LossConfig, Ssl};
use super::method::{Method, Targets, Term};
use crate::arena::Arena;
use crate::heads::{HeadConfig, Projector};
use crate::registry::Registry;

/// A method whose only loss is a joint-embedding loss.
pub struct JointEmbedding {
    ssl: Ssl,
    projector: Projector,
    inputs: i64,
    heads: HeadConfig,
    loss: LossConfig,
}

impl JointEmbedding {
    /// One projector on the whole y: out -> hidden -> hidden -> embed.
    pub fn new(reg: &mut Registry, config: &ModelConfig, ssl: Ssl) -> Self {
        let (inputs, heads) = (config.encoder.out, config.heads);
        JointEmbedding {
            ssl,
            projector: Projector::new(reg, "projector", inputs, heads),
            inputs,
            heads,
            loss: config.loss,
        }
    }
}

impl Method for JointEmbedding {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, _targets: &Targets) -> Vec<Term> {
        self.ssl.terms(&self.projector.forward(p, y1), &self.projector.forward(p, y2), &self.loss)
    }

    fn forward_flops(&self) -> f64 {
        2.0 * 2.0 * Projector::products(self.inputs, self.heads)
    }
}
