//! Supervised baseline: a linear head on y, trained with cross-entropy on both views.

use tch::Tensor;

use super::config::ModelConfig;
use super::method::{Method, Targets, Term};
use crate::arena::Arena;
use crate::init::Init;
use crate::layers::Linear;
use crate::losses::cross_entropy;
use crate::registry::{ParameterGroup, Registry};

pub struct Supervised {
    head: Linear,
    products: i64,
}

impl Supervised {
    pub fn new(reg: &mut Registry, config: &ModelConfig) -> Self {
        let (inputs, classes) = (config.encoder.out, config.classes);
        let head = Linear::new(reg, ParameterGroup::Global, "head", inputs, classes, Init::linear(inputs));
        Supervised { head, products: inputs * classes }
    }
}

impl Method for Supervised {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term> {
        let loss = |y: &Tensor| cross_entropy(&self.head.forward(p, y), &targets.labels);
        vec![("cross-entropy", (loss(y1) + loss(y2)) / 2.0)]
    }

    fn forward_flops(&self) -> f64 {
        2.0 * 2.0 * self.products as f64
    }
}
