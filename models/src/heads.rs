//! Heads between the representation y and the losses (protocol section 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::arena::Arena;
use crate::init::Init;
use crate::layers::{BatchNorm, LayerNorm, Linear};
use crate::registry::{ParameterGroup, Registry};

/// Widths of the heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Hidden width.
    pub hidden: i64,
    /// Length of an embedding z.
    pub embed: i64,
}

impl Default for HeadConfig {
    fn default() -> Self {
        HeadConfig { hidden: 512, embed: 192 }
    }
}

/// (Linear without bias -> BatchNorm -> ReLU) x 2, Linear without bias. BatchNorm over the global batch.
#[derive(Clone, Copy, Debug)]
pub struct Projector {
    hidden: [(Linear, BatchNorm); 2],
    out: Linear,
}

impl Projector {
    /// `inputs` -> hidden -> hidden -> embed, registered under `name`.
    pub fn new(reg: &mut Registry, name: &str, inputs: i64, config: HeadConfig) -> Self {
        let HeadConfig { hidden, embed } = config;
        reg.scope(name, |reg| {
            let mut layer = |i: i64, inputs| {
                (
                    Linear::without_bias(reg, ParameterGroup::Global, &format!("linear{i}"), inputs, hidden),
                    BatchNorm::new(reg, &format!("norm{i}"), hidden),
                )
            };
            let hidden_layers = [layer(1, inputs), layer(2, hidden)];
            Projector {
                hidden: hidden_layers,
                out: Linear::without_bias(reg, ParameterGroup::Global, "linear3", hidden, embed),
            }
        })
    }

    /// (N, inputs) -> (N, embed), where N is the global batch size of one view.
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        let mut x = x.shallow_clone();
        for (linear, norm) in &self.hidden {
            x = norm.forward(p, &linear.forward(p, &x)).relu();
        }
        self.out.forward(p, &x)
    }

    /// Multiply-adds for one row.
    pub fn products(inputs: i64, config: HeadConfig) -> f64 {
        (inputs * config.hidden + config.hidden * config.hidden + config.hidden * config.embed) as f64
    }
}

/// g_equi of the reconstruction method, for a token or a pooled vector: Linear-LayerNorm-GELU-Linear.
#[derive(Clone, Copy, Debug)]
pub struct TokenHead {
    linear1: Linear,
    norm: LayerNorm,
    linear2: Linear,
}

impl TokenHead {
    /// `inputs` -> `hidden` -> `outputs`, registered under `name`.
    pub fn new(
        reg: &mut Registry,
        group: ParameterGroup,
        name: &str,
        inputs: i64,
        hidden: i64,
        outputs: i64,
    ) -> Self {
        reg.scope(name, |reg| TokenHead {
            linear1: Linear::new(reg, group, "linear1", inputs, hidden, Init::linear(inputs)),
            norm: LayerNorm::new(reg, group, "norm", hidden),
            linear2: Linear::new(reg, group, "linear2", hidden, outputs, Init::linear(hidden)),
        })
    }

    /// (..., inputs) -> (..., outputs).
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        self.linear2.forward(p, &self.norm.forward(p, &self.linear1.forward(p, x)).gelu("none"))
    }

    /// Multiply-adds for one vector.
    pub fn products(inputs: i64, hidden: i64, outputs: i64) -> f64 {
        (inputs * hidden + hidden * outputs) as f64
    }
}
