//! Direct regression: an encoder and a probe-like MLP, trained end to end to regress the parameters of the
//! transforms from both views. The R2 of a probe on its y is the ceiling of an equivariance table.
//!
//! L = mean over the transforms of the mean squared error of their parameters, so that a transform does not
//! count less because it has fewer parameters.

use tch::{Kind, Tensor};

use super::config::ModelConfig;
use super::kind::{KnownTransforms, TransformName};
use super::method::{Method, Targets, Term};
use crate::arena::Arena;
use crate::error::Result;
use crate::init::Init;
use crate::layers::Linear;
use crate::losses::mse;
use crate::registry::{ParameterGroup, Registry};

pub struct Direct {
    layers: [Linear; 3],
    /// (first column, length) of every regressed transform in [`Targets::parameters`].
    columns: Vec<(i64, i64)>,
    products: i64,
}

impl Direct {
    /// Regresses `transform`, or every transform of the suite.
    ///
    /// # Errors
    /// Fails if the suite lacks the transform.
    pub fn new(reg: &mut Registry, config: &ModelConfig, transform: Option<TransformName>) -> Result<Self> {
        let regressed =
            transform.map_or(KnownTransforms::All, |transform| KnownTransforms::Some(vec![transform]));
        let columns = config.parameter_columns(&regressed)?;
        let (inputs, hidden) = (2 * config.encoder.out, config.heads.hidden);
        let outputs = columns.iter().map(|(_, length)| length).sum::<i64>();
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
        Ok(Direct { layers, columns, products: inputs * hidden + hidden * hidden + hidden * outputs })
    }
}

impl Method for Direct {
    fn global_terms(&self, p: &Arena, y1: &Tensor, y2: &Tensor, targets: &Targets) -> Vec<Term> {
        let [first, second, third] = &self.layers;
        let hidden = first.forward(p, &Tensor::cat(&[y1, y2], 1)).relu();
        let predicted = third.forward(p, &second.forward(p, &hidden).relu());
        let mut place = 0;
        let transform = |&(start, length): &(i64, i64)| {
            place += length;
            let predicted = predicted.narrow(1, place - length, length);
            mse(&predicted, &targets.parameters.narrow(1, start, length))
        };
        let errors: Vec<Tensor> = self.columns.iter().map(transform).collect();
        vec![("regression", Tensor::stack(&errors, 0).mean(None::<Kind>))]
    }

    fn forward_flops(&self) -> f64 {
        2.0 * self.products as f64
    }
}
