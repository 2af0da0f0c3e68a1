//! Layers of a frozen encoder.

use tch::Tensor;

use super::parameters::Parameters;

/// A linear layer, with or without a bias.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// The layer of a weight (outputs, inputs) and a bias (outputs).
    pub fn of(weight: Tensor, bias: Option<Tensor>) -> Linear {
        Linear { weight, bias }
    }

    /// `inputs` -> `outputs`. The bias is there if the parameters have one.
    pub fn take(p: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Linear {
        let weight = p.take(&format!("{name}.weight"), &[outputs, inputs]);
        Linear { weight, bias: p.take_if(&format!("{name}.bias"), &[outputs]) }
    }

    /// Several layers of the same input side by side. A layer without a bias has zeros if another has one.
    pub fn side_by_side(layers: Vec<Linear>) -> Linear {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let any = layers.iter().any(|layer| layer.bias.is_some());
        let bias = |layer: &Linear| match &layer.bias {
            Some(bias) => bias.shallow_clone(),
            None => layer.weight.select(1, 0).zeros_like(),
        };
        let biases: Vec<Tensor> = layers.iter().map(bias).collect();
        Linear { weight: Tensor::cat(&weights, 0), bias: any.then(|| Tensor::cat(&biases, 0)) }
    }

    /// (.., inputs) -> (.., outputs)
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Layer normalisation over the last axis.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Scale and shift of `dim` elements.
    pub fn take(p: &mut Parameters, name: &str, dim: i64, eps: f64) -> LayerNorm {
        let weight = p.take(&format!("{name}.weight"), &[dim]);
        LayerNorm { weight, bias: p.take(&format!("{name}.bias"), &[dim]), eps }
    }

    /// Like [`LayerNorm::take`]; `None` if the parameters have none of this name.
    pub fn take_if(p: &mut Parameters, name: &str, dim: i64, eps: f64) -> Option<LayerNorm> {
        p.has(&format!("{name}.weight")).then(|| Self::take(p, name, dim, eps))
    }

    /// (.., dim) -> (.., dim)
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }

    /// (B, dim, h, w) -> (B, dim, h, w), over the channels.
    pub fn forward_map(&self, x: &Tensor) -> Tensor {
        self.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}
