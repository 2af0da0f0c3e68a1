//! ConvNeXt (Liu et al. 2022) and ConvNeXt V2 (Woo et al. 2023) with timm's parameter names.

use tch::{Kind, Tensor};

use super::linear::{LayerNorm, Linear};
use super::parameters::Parameters;
use crate::error::{Error, Result};

/// Added to the variance in the normalisations of stem and blocks, and in V2's response normalisation.
const EPS: f64 = 1e-6;

/// A stem of patches, four stages of blocks, and a normalisation of the pooled features.
pub struct ConvNext {
    stem: Patches,
    stem_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
}

/// A convolution whose stride is its side.
struct Patches {
    weight: Tensor,
    bias: Tensor,
}

struct Stage {
    /// Normalisation and a convolution that halves the side; none in the first stage.
    down: Option<(LayerNorm, Patches)>,
    blocks: Vec<Block>,
}

/// x + gamma mlp(norm(depthwise(x)))
struct Block {
    depthwise: Tensor,
    depthwise_bias: Tensor,
    norm: LayerNorm,
    fc1: Linear,
    response: Option<ResponseNorm>,
    fc2: Linear,
    gamma: Option<Tensor>,
}

/// V2's global response normalisation.
struct ResponseNorm {
    weight: Tensor,
    bias: Tensor,
}

impl ConvNext {
    /// Builds the encoder from parameters with timm's names. `eps` is that of the last normalisation.
    ///
    /// # Errors
    /// Parameters that are missing, have another shape or do not belong to such an encoder, one line each.
    pub(super) fn read(mut p: Parameters, eps: f64) -> Result<ConvNext> {
        let [mut channels, 3, side, _] = p.shape("stem.0.weight")[..] else {
            return Err(Error::Mismatch("  stem.0.weight: expected (D, 3, p, p)".into()));
        };
        let stem = Patches::take(&mut p, "stem.0", [channels, 3, side]);
        let stem_norm = LayerNorm::take(&mut p, "stem.1", channels, EPS);
        let mut stages = Vec::new();
        for index in 0..p.count("stages.") {
            let stage = Stage::take(&mut p, &format!("stages.{index}"), channels);
            channels = stage.down.as_ref().map_or(channels, |(_, down)| down.weight.size()[0]);
            stages.push(stage);
        }
        if stages.is_empty() {
            p.problem("stages.0: missing, expected at least one stage");
        }
        let norm = LayerNorm::take(&mut p, "head.norm", channels, eps);
        p.finish()?;
        Ok(ConvNext { stem, stem_norm, stages, norm })
    }

    /// Images (B, 3, S, S) -> (B, D, S / 32, S / 32)
    pub(super) fn last_map(&self, images: &Tensor) -> Tensor {
        self.maps(images).pop().expect("at least one stage")
    }

    /// The maps after each stage.
    pub(super) fn maps(&self, images: &Tensor) -> Vec<Tensor> {
        let mut x = self.stem_norm.forward_map(&self.stem.forward(images));
        let mut maps = Vec::new();
        for Stage { down, blocks } in &self.stages {
            if let Some((norm, down)) = down {
                x = down.forward(&norm.forward_map(&x));
            }
            for block in blocks {
                x = block.forward(&x);
            }
            maps.push(x.shallow_clone());
        }
        maps
    }

    pub(super) fn after_pooling(&self, pooled: &Tensor) -> Tensor {
        self.norm.forward(pooled)
    }
}

impl Patches {
    /// The shape is that of the outputs, the inputs and the kernel's side.
    fn take(p: &mut Parameters, name: &str, [outputs, inputs, side]: [i64; 3]) -> Patches {
        Patches {
            weight: p.take(&format!("{name}.weight"), &[outputs, inputs, side, side]),
            bias: p.take(&format!("{name}.bias"), &[outputs]),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let side = self.weight.size()[2];
        x.conv2d(&self.weight, Some(&self.bias), [side, side], [0, 0], [1, 1], 1)
    }
}

impl Stage {
    fn take(p: &mut Parameters, name: &str, inputs: i64) -> Stage {
        let down = format!("{name}.downsample");
        let shape = p.shape(&format!("{down}.1.weight"));
        let down = p.has(&format!("{down}.1.weight")).then(|| {
            let (outputs, side) = (shape[0], shape.get(2).copied().unwrap_or(2));
            let norm = LayerNorm::take(p, &format!("{down}.0"), inputs, EPS);
            (norm, Patches::take(p, &format!("{down}.1"), [outputs, inputs, side]))
        });
        let channels = down.as_ref().map_or(inputs, |(_, down)| down.weight.size()[0]);
        let count = p.count(&format!("{name}.blocks."));
        let blocks =
            (0..count).map(|index| Block::take(p, &format!("{name}.blocks.{index}"), channels)).collect();
        Stage { down, blocks }
    }
}

impl Block {
    fn take(p: &mut Parameters, name: &str, dim: i64) -> Block {
        let hidden = p.shape(&format!("{name}.mlp.fc1.weight")).first().copied().unwrap_or(4 * dim);
        let side = p.shape(&format!("{name}.conv_dw.weight")).get(2).copied().unwrap_or(7);
        let response = p.has(&format!("{name}.mlp.grn.weight")).then(|| ResponseNorm {
            weight: p.take(&format!("{name}.mlp.grn.weight"), &[hidden]),
            bias: p.take(&format!("{name}.mlp.grn.bias"), &[hidden]),
        });
        Block {
            depthwise: p.take(&format!("{name}.conv_dw.weight"), &[dim, 1, side, side]),
            depthwise_bias: p.take(&format!("{name}.conv_dw.bias"), &[dim]),
            norm: LayerNorm::take(p, &format!("{name}.norm"), dim, EPS),
            fc1: Linear::take(p, &format!("{name}.mlp.fc1"), dim, hidden),
            response,
            fc2: Linear::take(p, &format!("{name}.mlp.fc2"), hidden, dim),
            gamma: p.take_if(&format!("{name}.gamma"), &[dim]),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (channels, padding) = (x.size()[1], self.depthwise.size()[2] / 2);
        let y = x.conv2d(
            &self.depthwise,
            Some(&self.depthwise_bias),
            [1, 1],
            [padding, padding],
            [1, 1],
            channels,
        );
        let y = self.fc1.forward(&self.norm.forward(&y.permute([0, 2, 3, 1]))).gelu("none"); // (B, h, w, hidden)
        let y = self.response.as_ref().map_or(y.shallow_clone(), |response| response.forward(&y));
        let y = self.fc2.forward(&y);
        let y = self.gamma.as_ref().map_or(y.shallow_clone(), |gamma| &y * gamma);
        x + y.permute([0, 3, 1, 2])
    }
}

impl ResponseNorm {
    /// (B, h, w, D) -> (B, h, w, D)
    fn forward(&self, x: &Tensor) -> Tensor {
        let response = x.square().sum_dim_intlist([1i64, 2].as_slice(), true, None::<Kind>).sqrt();
        let relative = &response / (response.mean_dim([-1i64].as_slice(), true, None::<Kind>) + EPS);
        x + (x * relative) * &self.weight + &self.bias
    }
}
