//! Integration tests of eqr-models.

mod exactness;
mod overfit;
mod predictor;
mod reference;

use eqr_models::ModelConfig;
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::LossConfig;
use eqr_models::vit::{Pool, PositionInit, VitConfig};
use tch::Tensor;

/// A tiny network with three classes, for a data set with these transforms.
fn tiny(transforms: &[(&str, i64)]) -> ModelConfig {
    let (pool, positions) = (Pool::Split, PositionInit::Sincos);
    ModelConfig {
        encoder: VitConfig { image: 16, patch: 8, dim: 24, depth: 2, heads: 2, out: 16, pool, positions },
        heads: HeadConfig { hidden: 20, embed: 12 },
        decoder: DecoderConfig { depth: 2, dim: 16, heads: 2 },
        loss: LossConfig::default(),
        classes: 3,
        transforms: transforms.iter().map(|&(name, length)| (name.to_owned(), length)).collect(),
        sie_constant: true,
    }
}

const PHOTOGRAPHS: [(&str, i64); 6] =
    [("rotation", 1), ("translation", 2), ("crop", 4), ("flip", 1), ("color", 4), ("blur", 1)];

/// A fixed, rough signal in f64. It needs no random generator, which parallel tests would share.
fn rough(shape: &[i64], phase: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| ((i as f64 + phase) * 12.9898).sin() * 1.7).collect();
    Tensor::from_slice(&values).view(shape)
}
