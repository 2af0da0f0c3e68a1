//! VICReg whose invariance term compares only the class tokens: 25 MSE(inv) + 25 V + 1 C, V and C on
//! concat(inv, equi). It is SIE without the predictor, with VICReg's weights. The patch tokens are kept from
//! collapsing, but nothing makes them invariant or equivariant.

use tch::Tensor;

use super::config::ModelConfig;
use super::method::{Method, Targets, Term};
use crate::arena::Arena;
use crate::heads::{HeadConfig, Projector};
use crate::losses::{covariance, mse, variance};
use crate::registry::Registry;

pub struct VicregCls {
    g_inv: Projector,
    g_equi: Projector,
    half: i64,
    heads: HeadConfig,
}

impl VicregCls {
    pub fn new(reg: &mut Registry, config: &ModelConfig) -> Self {
        let (half, heads) = (config.encoder.half(), config.heads);
        VicregCls {
            g_inv: Projector::new(reg, "g_inv", half, heads),
            g_equi: Projector::new(reg, "g_equi", half, heads),
            half,
            heads,
        }
    }
}

impl Method for VicregCls {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, _targets: &Targets) -> Vec<Term> {
        let inv = |y: &Tensor| self.g_inv.forward(p, &y.narrow(1, 0, self.half));
        let equi = |y: &Tensor| self.g_equi.forward(p, &y.narrow(1, self.half, self.half));
        let (inv1, inv2) = (inv(y1), inv(y2));
        let (z1, z2) = (Tensor::cat(&[&inv1, &equi(y1)], 1), Tensor::cat(&[&inv2, &equi(y2)], 1));
        vec![
            ("invariance", mse(&inv1, &inv2) * 25.0),
            ("variance", (variance(&z1) + variance(&z2)) * (25.0 / 2.0)),
            ("covariance", covariance(&z1) + covariance(&z2)),
        ]
    }

    fn forward_flops(&self) -> f64 {
        2.0 * 4.0 * Projector::products(self.half, self.heads)
    }
}
