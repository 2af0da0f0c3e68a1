//! Layers of the encoder, the heads and the decoder.

use eqr_device::kernels::{Norm, linear_gelu, residual_norm};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::arena::Arena;
use crate::init::Init;
use crate::registry::{Param, ParameterGroup, Registry};

/// `x W^T (+ b)`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    pub(crate) weight: Param,
    pub(crate) bias: Option<Param>,
}

impl Linear {
    /// A layer with weight (`outputs`, `inputs`) initialised by `weight`, and zero bias.
    pub fn new(
        reg: &mut Registry,
        group: ParameterGroup,
        name: &str,
        inputs: i64,
        outputs: i64,
        weight: Init,
    ) -> Self {
        reg.scope(name, |reg| Linear {
            weight: reg.add(group, "weight", &[outputs, inputs], weight),
            bias: Some(reg.add(group, "bias", &[outputs], Init::Constant(0.0))),
        })
    }

    /// A layer without bias, because a bias before batch normalisation has no effect.
    pub fn without_bias(
        reg: &mut Registry,
        group: ParameterGroup,
        name: &str,
        inputs: i64,
        outputs: i64,
    ) -> Self {
        let weight =
            reg.scope(name, |reg| reg.add(group, "weight", &[outputs, inputs], Init::linear(inputs)));
        Linear { weight, bias: None }
    }

    /// (..., inputs) -> (..., outputs).
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        x.linear(p.get(self.weight), self.bias.map(|bias| p.get(bias)))
    }

    /// Outputs `from .. from + len` only: (..., inputs) -> (..., len).
    pub fn forward_rows(&self, p: &Arena, x: &Tensor, from: i64, len: i64) -> Tensor {
        x.linear(
            &p.get(self.weight).narrow(0, from, len),
            self.bias.map(|bias| p.get(bias).narrow(0, from, len)),
        )
    }
}

/// What the names and shapes of a transformer's parameters do not show. The default is that of timm's plain
/// ViTs, and of every encoder trained here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockForm {
    /// Function between the two layers of an MLP.
    pub activation: Activation,
    /// Added to the variance in layer normalisation.
    pub eps: f64,
}

impl Default for BlockForm {
    fn default() -> Self {
        BlockForm { activation: Activation::Gelu, eps: 1e-6 }
    }
}

/// Function between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Phi(x), with the normal distribution function Phi.
    Gelu,
    /// GELU's approximation by a hyperbolic tangent.
    GeluTanh,
    /// x sigmoid(1.702 x), as in OpenAI's CLIP.
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x sigmoid(x).
    Silu,
}

impl Activation {
    /// The function of every element.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::GeluTanh => x.gelu("tanh"),
            Activation::QuickGelu => x * (x * 1.702).sigmoid(),
            Activation::Relu => x.relu(),
            Activation::Silu => x.silu(),
        }
    }
}

/// Layer normalisation over the last axis.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    weight: Param,
    bias: Param,
    dim: i64,
    eps: f64,
}

impl LayerNorm {
    /// Scale one, shift zero, timm's eps.
    pub fn new(reg: &mut Registry, group: ParameterGroup, name: &str, dim: i64) -> Self {
        Self::with_eps(reg, group, name, dim, BlockForm::default().eps)
    }

    /// Scale one, shift zero.
    pub fn with_eps(reg: &mut Registry, group: ParameterGroup, name: &str, dim: i64, eps: f64) -> Self {
        reg.scope(name, |reg| LayerNorm {
            weight: reg.add(group, "weight", &[dim], Init::Constant(1.0)),
            bias: reg.add(group, "bias", &[dim], Init::Constant(0.0)),
            dim,
            eps,
        })
    }

    /// (..., dim) -> (..., dim).
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        x.layer_norm([self.dim], Some(p.get(self.weight)), Some(p.get(self.bias)), self.eps, true)
    }
}

/// Tokens (B, T, dim) between two layers of a network with residuals: a sum to which the output of the last
/// layer is added where the next layer normalises the sum. Both are then one pass over the memory of a GPU.
pub struct Residual {
    sum: Tensor,
    /// The output of the last layer, if it is not in the sum.
    last: Option<Tensor>,
}

impl Residual {
    /// The tokens `x`.
    pub fn new(x: &Tensor) -> Self {
        Residual { sum: x.shallow_clone(), last: None }
    }

    /// The tokens `x` + `last`.
    pub fn with(x: Tensor, last: Tensor) -> Self {
        Residual { sum: x, last: Some(last) }
    }

    /// The tokens.
    pub fn tokens(&self) -> Tensor {
        self.last.as_ref().map_or_else(|| self.sum.shallow_clone(), |last| &self.sum + last)
    }

    /// The tokens, and the same normalised.
    pub fn normalised(&self, p: &Arena, norm: &LayerNorm) -> [Tensor; 2] {
        match &self.last {
            None => [self.sum.shallow_clone(), norm.forward(p, &self.sum)],
            Some(last) => {
                let parameters = Norm { weight: p.get(norm.weight), bias: p.get(norm.bias), eps: norm.eps };
                residual_norm(&self.sum, last, parameters)
            }
        }
    }
}

/// Batch normalisation with the statistics of the given batch, eps 1e-5. The batch is always the global
/// batch. Heads are not used after pretraining, so there are no running statistics.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    weight: Param,
    bias: Param,
}

impl BatchNorm {
    /// Scale one, shift zero.
    pub fn new(reg: &mut Registry, name: &str, dim: i64) -> Self {
        reg.scope(name, |reg| BatchNorm {
            weight: reg.add(ParameterGroup::Global, "weight", &[dim], Init::Constant(1.0)),
            bias: reg.add(ParameterGroup::Global, "bias", &[dim], Init::Constant(0.0)),
        })
    }

    /// (N, dim) -> (N, dim).
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        x.batch_norm(
            Some(p.get(self.weight)),
            Some(p.get(self.bias)),
            None::<&Tensor>,
            None::<&Tensor>,
            true,
            0.0,
            1e-5,
            true,
        )
    }
}

/// Multi-head attention on projected q (B, Tq, dim), k and v (B, Tk, dim), with the factor `scale` on the
/// scores -> (B, Tq, dim).
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: i64, scale: f64) -> Tensor {
    let (batch, queries, dim) = q.size3().expect("q is (B, Tq, dim)");
    // (B, heads, T, dim/heads)
    let split = |x: &Tensor| x.view([batch, -1, heads, dim / heads]).transpose(1, 2);
    let (q, k, v) = (split(q), split(k), split(v));
    let out = if fused_is_faster(q.device(), k.size()[2]) {
        Tensor::scaled_dot_product_attention::<&Tensor>(&q, &k, &v, None, 0.0, false, scale, false)
    } else {
        plain_attention(&q, &k, &v, scale)
    };
    out.transpose(1, 2).reshape([batch, queries, dim])
}

/// softmax(scale q k^T) v, all (B, heads, T, D), computed by two batched products. The first one also applies
/// the scale.
fn plain_attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Tensor {
    let (batch, heads, queries, depth) = q.size4().expect("q is (B, heads, Tq, D)");
    let together = |x: &Tensor| x.reshape([batch * heads, x.size()[2], depth]);
    let (q, k, v) = (together(q), together(k), together(v));
    let shape = [batch * heads, queries, k.size()[1]];
    let unread = Tensor::zeros([1], (q.kind(), q.device())).expand(shape, false);
    // (B heads, Tq, Tk)
    let scores = unread.baddbmm(&q, &k.transpose(1, 2), 0.0, scale);
    scores.softmax(-1, None::<Kind>).bmm(&v).view([batch, heads, queries, depth])
}

/// Whether the fused kernel is faster. On CPUs, plain matmul-softmax is faster for short sequences (measured
/// in design decision "Precision").
fn fused_is_faster(device: Device, tokens: i64) -> bool {
    device != Device::Cpu || tokens > 256
}

/// Two linear layers with an activation between them.
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    /// `dim` -> 4 `dim` -> `dim` under `mlp.`; weights from `init(fan_in, fan_out)`.
    pub fn new(reg: &mut Registry, dim: i64, activation: Activation, init: fn(i64, i64) -> Init) -> Self {
        reg.scope("mlp", |reg| Mlp {
            activation,
            fc1: Linear::new(reg, ParameterGroup::PerSample, "fc1", dim, 4 * dim, init(dim, 4 * dim)),
            fc2: Linear::new(reg, ParameterGroup::PerSample, "fc2", 4 * dim, dim, init(4 * dim, dim)),
        })
    }

    /// (..., dim) -> (..., dim).
    pub fn forward(&self, p: &Arena, x: &Tensor) -> Tensor {
        let hidden = match (self.activation, self.fc1.bias) {
            (Activation::Gelu, Some(bias)) => linear_gelu(x, p.get(self.fc1.weight), p.get(bias)),
            _ => self.activation.apply(&self.fc1.forward(p, x)),
        };
        self.fc2.forward(p, &hidden)
    }
}

/// Pre-norm transformer block with timm's parameter names.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
    heads: i64,
}

impl Block {
    /// Registers the block of timm's form under the current prefix; weights from `init(fan_in, fan_out)`.
    pub fn new(reg: &mut Registry, dim: i64, heads: i64, init: fn(i64, i64) -> Init) -> Self {
        Self::of_form(reg, dim, heads, BlockForm::default(), init)
    }

    /// Like [`Block::new`], of another form.
    pub fn of_form(
        reg: &mut Registry,
        dim: i64,
        heads: i64,
        form: BlockForm,
        init: fn(i64, i64) -> Init,
    ) -> Self {
        let group = ParameterGroup::PerSample;
        let norm1 = LayerNorm::with_eps(reg, group, "norm1", dim, form.eps);
        let (qkv, proj) = reg.scope("attn", |reg| {
            (
                Linear::new(reg, group, "qkv", dim, 3 * dim, init(dim, 3 * dim)),
                Linear::new(reg, group, "proj", dim, dim, init(dim, dim)),
            )
        });
        let norm2 = LayerNorm::with_eps(reg, group, "norm2", dim, form.eps);
        Block { norm1, qkv, proj, norm2, mlp: Mlp::new(reg, dim, form.activation, init), heads }
    }

    /// (B, T, dim) -> (B, T, dim).
    pub fn forward(&self, p: &Arena, x: &Residual) -> Residual {
        let [x, normed] = x.normalised(p, &self.norm1);
        let qkv = self.qkv.forward(p, &normed).chunk(3, -1);
        let scale = 1.0 / ((x.size()[2] / self.heads) as f64).sqrt();
        let mixed = attention(&qkv[0], &qkv[1], &qkv[2], self.heads, scale);
        let [x, normed] = Residual::with(x, self.proj.forward(p, &mixed)).normalised(p, &self.norm2);
        Residual::with(x, self.mlp.forward(p, &normed))
    }
}
