//! Random weights for an architecture whose parameters are known by name and shape: the floor of an encoder
//! that was not trained here.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::init::Init;

/// How weights are drawn. Biases are zero, scales (also those of layer scale) and variances one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Normal with standard deviation 0.02, and torch's default for patches, as in timm's transformers and
    /// ConvNeXt.
    Transformer,
    /// Normal with variance 2 / fan out (He et al. 2015), as in torchvision's ResNets.
    Residual,
}

/// The weights, which depend only on `seed`, the names and the shapes.
pub fn draw<'a>(
    shapes: impl Iterator<Item = (&'a str, &'a [i64])>,
    scheme: Scheme,
    seed: u64,
) -> BTreeMap<String, Tensor> {
    let weights = shapes.map(|(name, shape)| {
        let mut values = vec![0.0; shape.iter().product::<i64>() as usize];
        scheme.init(name, shape).fill(&mut values, seed, name);
        (name.to_owned(), Tensor::from_slice(&values).to_kind(Kind::Float).reshape(shape))
    });
    weights.collect()
}

impl Scheme {
    fn init(self, name: &str, shape: &[i64]) -> Init {
        let is_vector = shape.iter().filter(|&&side| side != 1).count() < 2;
        let token = name.ends_with("_token") || name == "pos_embed";
        match self {
            _ if name.ends_with("bias") || name.ends_with("running_mean") => Init::Constant(0.0),
            _ if is_vector && !token => Init::Constant(1.0),
            Scheme::Transformer if name.starts_with("patch_embed.") => {
                Init::linear(shape[1..].iter().product())
            }
            Scheme::Transformer => Init::Normal(0.02),
            Scheme::Residual => {
                let fan_out = shape[0] * shape[2..].iter().product::<i64>();
                Init::Normal((2.0 / fan_out as f64).sqrt())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_one_biases_zero_and_weights_drawn() {
        let shapes: [(&str, &[i64]); 5] = [
            ("blocks.0.attn.qkv.weight", &[300, 100]),
            ("blocks.0.norm1.weight", &[100]),
            ("blocks.0.ls1.gamma", &[100]),
            ("blocks.0.norm1.bias", &[100]),
            ("cls_token", &[1, 1, 100]),
        ];
        let drawn = draw(shapes.into_iter(), Scheme::Transformer, 3);
        let std = |name: &str| drawn[name].std(false).double_value(&[]);
        assert!((std("blocks.0.attn.qkv.weight") - 0.02).abs() < 1e-3);
        assert!((std("cls_token") - 0.02).abs() < 5e-3);
        assert_eq!(drawn["blocks.0.norm1.weight"].min().double_value(&[]), 1.0);
        assert_eq!(drawn["blocks.0.ls1.gamma"].max().double_value(&[]), 1.0);
        assert_eq!(drawn["blocks.0.norm1.bias"].abs().max().double_value(&[]), 0.0);
        let again = draw(shapes.into_iter(), Scheme::Transformer, 3);
        assert!(drawn["cls_token"].equal(&again["cls_token"]));
        let kernel: [(&str, &[i64]); 1] = [("conv1.weight", &[64, 3, 7, 7])];
        let kernel = draw(kernel.into_iter(), Scheme::Residual, 3).remove("conv1.weight").unwrap();
        assert!((kernel.std(false).double_value(&[]) - (2.0f64 / (64.0 * 49.0)).sqrt()).abs() < 1e-3);
    }
}
