//! Joint-embedding losses, which are interchangeable: each is a function of the two views' embeddings of the
//! global batch. It is a method of its own on a projection of the whole y, and part of Ours on one of the
//! invariant half.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::config::{LossConfig, ModelConfig};
use super::method::{Method, Targets, Term};
use super::{barlow, simclr, vicreg};
use crate::arena::Arena;
use crate::heads::{HeadConfig, Projector};
use crate::registry::Registry;

/// Which loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The loss of embeddings z1, z2 (N, D), N the global batch.
    pub fn terms(self, z1: &Tensor, z2: &Tensor, loss: &LossConfig) -> Vec<Term> {
        match self {
            Ssl::Vicreg => vicreg::terms(z1, z2),
            Ssl::Simclr => simclr::terms(z1, z2, loss.temperature),
            Ssl::Barlow => barlow::terms(z1, z2, loss.barlow_lambda),
        }
    }
}

/// A joint-embedding loss as a method of its own.
pub struct JointEmbedding {
    ssl: Ssl,
    projector: Projector,
    inputs: i64,
    heads: HeadConfig,
    loss: LossConfig,
}

impl JointEmbedding {
    /// One projector on the whole y: out - hidden - hidden - embed.
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
