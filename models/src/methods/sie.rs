//! SIE (Garrido et al. 2023): the parameters g of the known transforms determine a linear map from the
//! equivariant embedding of view 1 to that of view 2.
//!
//! L = 10 MSE(inv) + 4.5 MSE(pred(Z_equi1, g), Z_equi2) + 10 V + 1 C + 10 V(pred)/2, V and C on concat(inv,
//! equi). The last term keeps the prediction from shrinking. One variant omits it.

use tch::Tensor;

use super::config::ModelConfig;
use super::kind::{SieKind, SieRecipe};
use super::method::{Method, Predictor, Targets, Term};
use crate::arena::Arena;
use crate::error::Result;
use crate::heads::{HeadConfig, Projector};
use crate::init::Init;
use crate::losses::{covariance, mse, variance};
use crate::registry::{Param, ParameterGroup, Registry};

/// Widths of SIE's own recipe (Garrido et al. 2023, section 4).
const OWN_HEADS: HeadConfig = HeadConfig { hidden: 1024, embed: 1024 };

pub struct Sie {
    g_inv: Projector,
    g_equi: Projector,
    /// (embed * embed, length of g): the linear map from g to the predictor's matrix.
    hypernetwork: Param,
    columns: Vec<(i64, i64)>,
    constant: bool,
    prediction_variance: bool,
    half: i64,
    heads: HeadConfig,
}

impl Sie {
    /// # Errors
    /// Fails if the suite lacks a known transform.
    pub fn new(reg: &mut Registry, config: &ModelConfig, kind: &SieKind) -> Result<Self> {
        let columns = config.parameter_columns(&kind.known)?;
        let half = config.encoder.half();
        let heads = match kind.recipe {
            SieRecipe::Suite => config.heads,
            SieRecipe::Own => OWN_HEADS,
        };
        let length = columns.iter().map(|(_, length)| length).sum::<i64>() + i64::from(config.sie_constant);
        let shape = [heads.embed * heads.embed, length];
        Ok(Sie {
            g_inv: Projector::new(reg, "g_inv", half, heads),
            g_equi: Projector::new(reg, "g_equi", half, heads),
            hypernetwork: reg.add(ParameterGroup::Global, "predictor.weight", &shape, Init::linear(length)),
            columns,
            constant: config.sie_constant,
            prediction_variance: kind.prediction_variance,
            half,
            heads,
        })
    }

    /// (N, all parameters) -> (N, length of g).
    fn group_element(&self, parameters: &Tensor) -> Tensor {
        let mut parts: Vec<Tensor> =
            self.columns.iter().map(|&(start, length)| parameters.narrow(1, start, length)).collect();
        if self.constant {
            parts.push(parameters.narrow(1, 0, 1).ones_like());
        }
        Tensor::cat(&parts, 1)
    }
}

impl Predictor for Sie {
    fn embed(&self, p: &Arena, y: &Tensor) -> Tensor {
        self.g_equi.forward(p, &y.narrow(1, self.half, self.half))
    }

    /// pred(z, g) = M(g) z with M(g) = sum_k g_k W_k. Applying the W_k first avoids (N, D, D) matrices.
    fn predict(&self, p: &Arena, z: &Tensor, parameters: &Tensor) -> Tensor {
        let (d, g) = (self.heads.embed, self.group_element(parameters));
        let length = g.size()[1];
        let maps = p.get(self.hypernetwork).view([d, d, length]).permute([1, 2, 0]).reshape([d, length * d]);
        let mapped = z.matmul(&maps).view([-1, length, d]); // (N, k, D): W_k z
        (mapped * g.unsqueeze(-1)).sum_dim_intlist([1i64].as_slice(), false, None)
    }
}

impl Method for Sie {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term> {
        let inv = |y: &Tensor| self.g_inv.forward(p, &y.narrow(1, 0, self.half));
        let (inv1, inv2, equi1, equi2) = (inv(y1), inv(y2), self.embed(p, y1), self.embed(p, y2));
        let (z1, z2) = (Tensor::cat(&[&inv1, &equi1], 1), Tensor::cat(&[&inv2, &equi2], 1));
        let predicted = self.predict(p, &equi1, &targets.parameters);
        let mut terms = vec![
            ("invariance", mse(&inv1, &inv2) * 10.0),
            ("equivariance", mse(&predicted, &equi2) * 4.5),
            ("variance", (variance(&z1) + variance(&z2)) * (10.0 / 2.0)),
            ("covariance", covariance(&z1) + covariance(&z2)),
        ];
        if self.prediction_variance {
            terms.push(("predictor variance", variance(&predicted) * (10.0 / 2.0)));
        }
        terms
    }

    fn predictor(&self) -> Option<&dyn Predictor> {
        Some(self)
    }

    fn forward_flops(&self) -> f64 {
        let length = self.columns.iter().map(|(_, length)| length).sum::<i64>() + i64::from(self.constant);
        let predictor = (self.heads.embed * self.heads.embed * length) as f64;
        2.0 * (4.0 * Projector::products(self.half, self.heads) + predictor)
    }
}
