//! A pre-norm transformer block (Dosovitskiy et al. 2021), with what later papers added: layer scale (Touvron
//! et al. 2021), gated MLPs (Shazeer 2020) and normalised queries and keys (Dehghani et al. 2023).

use tch::Tensor;

use super::linear::{LayerNorm, Linear};
use super::parameters::Parameters;
use super::rotary::Rotary;
use super::vision_transformer::VitForm;
use crate::layers::{Activation, attention};

/// x + ls1(attention(norm1(x))), then x + ls2(mlp(norm2(x))).
pub(super) struct Block {
    norm1: LayerNorm,
    attention: Attention,
    scale1: Option<Tensor>,
    norm2: LayerNorm,
    mlp: Mlp,
    scale2: Option<Tensor>,
}

struct Attention {
    /// Queries, keys and values side by side.
    qkv: Linear,
    /// Normalisations of queries and keys in each head.
    norms: Option<[LayerNorm; 2]>,
    proj: Linear,
    heads: i64,
}

struct Mlp {
    /// To the hidden layer; with a gate, gate and value side by side.
    fc1: Linear,
    gated: bool,
    /// Normalisation of the hidden layer.
    norm: Option<LayerNorm>,
    fc2: Linear,
    activation: Activation,
}

impl Block {
    pub fn take(p: &mut Parameters, name: &str, dim: i64, form: &VitForm) -> Block {
        let norm = |p: &mut Parameters, norm| LayerNorm::take(p, &format!("{name}.{norm}"), dim, form.eps);
        let scale = |p: &mut Parameters, scale| p.take_if(&format!("{name}.{scale}.gamma"), &[dim]);
        Block {
            norm1: norm(p, "norm1"),
            attention: Attention::take(p, &format!("{name}.attn"), dim, form),
            scale1: scale(p, "ls1"),
            norm2: norm(p, "norm2"),
            mlp: Mlp::take(p, &format!("{name}.mlp"), dim, form),
            scale2: scale(p, "ls2"),
        }
    }

    /// (B, T, dim) -> (B, T, dim)
    pub fn forward(&self, x: &Tensor, rotary: Option<&Rotary>) -> Tensor {
        let scaled =
            |x: Tensor, scale: &Option<Tensor>| scale.as_ref().map_or(x.shallow_clone(), |scale| &x * scale);
        let x = x + scaled(self.attention.forward(&self.norm1.forward(x), rotary), &self.scale1);
        &x + scaled(self.mlp.forward(&self.norm2.forward(&x)), &self.scale2)
    }
}

impl Attention {
    /// `qkv` is one layer or, under `q`, `k` and `v`, three.
    fn take(p: &mut Parameters, name: &str, dim: i64, form: &VitForm) -> Attention {
        let qkv = if p.has(&format!("{name}.q.weight")) {
            Linear::side_by_side(
                ["q", "k", "v"].map(|part| Linear::take(p, &format!("{name}.{part}"), dim, dim)).into(),
            )
        } else {
            Linear::take(p, &format!("{name}.qkv"), dim, 3 * dim)
        };
        let norm = |p: &mut Parameters, norm| {
            LayerNorm::take_if(p, &format!("{name}.{norm}"), dim / form.heads, form.eps)
        };
        let norms = norm(p, "q_norm").zip(norm(p, "k_norm")).map(|(q, k)| [q, k]);
        Attention { qkv, norms, proj: Linear::take(p, &format!("{name}.proj"), dim, dim), heads: form.heads }
    }

    fn forward(&self, x: &Tensor, rotary: Option<&Rotary>) -> Tensor {
        let (batch, tokens, dim) = x.size3().expect("tokens are (B, T, dim)");
        let qkv = self.qkv.forward(x).chunk(3, -1);
        let [mut q, mut k] = [qkv[0].shallow_clone(), qkv[1].shallow_clone()];
        if let Some(norms) = &self.norms {
            let by_head = |x: &Tensor, norm: &LayerNorm| {
                let heads = x.reshape([batch, tokens, self.heads, dim / self.heads]);
                norm.forward(&heads).reshape([batch, tokens, dim])
            };
            [q, k] = [by_head(&q, &norms[0]), by_head(&k, &norms[1])];
        }
        if let Some(rotary) = rotary {
            [q, k] = [rotary.rotate(&q, self.heads), rotary.rotate(&k, self.heads)];
        }
        let scale = 1.0 / ((dim / self.heads) as f64).sqrt();
        self.proj.forward(&attention(&q, &k, &qkv[2], self.heads, scale))
    }
}

impl Mlp {
    /// A gate is `fc1_g` beside `fc1_x`, or the first half of `fc1` if that is twice as wide as `fc2` takes.
    fn take(p: &mut Parameters, name: &str, dim: i64, form: &VitForm) -> Mlp {
        let hidden = p.shape(&format!("{name}.fc2.weight")).get(1).copied().unwrap_or(4 * dim);
        let separate = p.has(&format!("{name}.fc1_g.weight"));
        // the layer that may have a gate beside it
        let alone = if p.has(&format!("{name}.fc1_x.weight")) { "fc1_x" } else { "fc1" };
        let packed = p.shape(&format!("{name}.fc1.weight")).first() == Some(&(2 * hidden));
        let fc1 = if separate {
            let part = |p: &mut Parameters, part| Linear::take(p, &format!("{name}.{part}"), dim, hidden);
            Linear::side_by_side(vec![part(p, "fc1_g"), part(p, "fc1_x")])
        } else {
            Linear::take(p, &format!("{name}.{alone}"), dim, if packed { 2 * hidden } else { hidden })
        };
        let norm = LayerNorm::take_if(p, &format!("{name}.norm"), hidden, form.eps);
        let fc2 = Linear::take(p, &format!("{name}.fc2"), hidden, dim);
        let gated = separate || packed;
        Mlp { fc1, gated, norm, fc2, activation: if gated { form.gate } else { form.activation } }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let hidden = self.fc1.forward(x);
        let hidden = if self.gated {
            let halves = hidden.chunk(2, -1);
            self.activation.apply(&halves[0]) * &halves[1]
        } else {
            self.activation.apply(&hidden)
        };
        self.fc2.forward(&self.norm.as_ref().map_or(hidden.shallow_clone(), |norm| norm.forward(&hidden)))
    }
}
