//! Direct regression: an encoder and a probe-like MLP, trained end to end to regress the parameters of all
//! transforms from both views. The R2 of a probe on its y is the ceiling of an equivariance table.

use tch::Tensor;

use super::config::ModelConfig;
use super::method::{Method, Targets, Term};
use crate::arena::Arena;
use crate::init::Init;
use crate::layers::Linear;
use crate::losses::mse;
use crate::registry::{ParameterGroup, Registry};

pub struct Direct {
    layers: [Linear; 3],
    products: i64,
}

impl Direct {
    pub fn new(reg: &mut Registry, config: &ModelConfig) -> Self {
        let (inputs, hidden) = (2 * config.encoder.out, config.heads.hidden);
        let outputs = config.transforms.iter().map(|(_, length)| length).sum::<i64>();
        let mut linear = |name: &str, inputs, outputs| {
            reg.scope("regressor", |reg| {
                Linear::new(reg, ParameterGroup::Global, name, inputs, outputs, Init::linear(inputs))
            })
        };
        let layers = [
            linear("linear1", inputs, hidden),
            linear("linear2", hidden, hidden),
            linear("linear3", hidden, outputs),
        ];
        Direct { layers, products: inputs * hidden + hidden * hidden + hidden * outputs }
    }
}

impl Method for Direct {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term> {
        let [first, second, third] = &self.layers;
        let hidden = first.forward(p, &Tensor::cat(&[y1, y2], 1)).relu();
        let predicted = third.forward(p, &second.forward(p, &hidden).relu());
        vec![("regression", mse(&predicted, &targets.parameters))]
    }

    fn forward_flops(&self) -> f64 {
        2.0 * self.products as f64
    }
}
