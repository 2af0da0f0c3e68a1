//! What retrieval measures is what SIE trains.

use eqr_models::arena::{Arena, Compute};
use eqr_models::decoder::DecoderConfig;
use eqr_models::heads::HeadConfig;
use eqr_models::methods::{LossConfig, Model, ModelConfig, Targets, build};
use eqr_models::vit::{Pool, Positions, VitConfig};
use eqr_models::{MethodKind, Registry};
use tch::{Device, Kind, Tensor};

/// The method on a set with quaternions and two differences of hues, in f64.
fn network(method: &str) -> (Arena, Model) {
    let config = ModelConfig {
        encoder: VitConfig {
            image: 16,
            patch: 8,
            dim: 24,
            depth: 1,
            heads: 2,
            out: 16,
            pool: Pool::default(),
            positions: Positions::Sincos,
        },
        heads: HeadConfig { hidden: 20, embed: 12 },
        decoder: DecoderConfig { depth: 2, dim: 16, heads: 2 },
        loss: LossConfig::default(),
        classes: 3,
        transforms: [("rotation", 4), ("color", 2)].map(|(name, length)| (name.to_owned(), length)).to_vec(),
        sie_constant: false,
    };
    let mut registry = Registry::default();
    let model = build(&method.parse::<MethodKind>().unwrap(), &config, &mut registry).unwrap();
    (Arena::new(registry, 5, Compute::F64, Device::Cpu), model)
}

/// (9, columns), fixed and rough.
fn rough(columns: i64, phase: f64) -> Tensor {
    let values: Vec<f64> = (0..9 * columns).map(|i| ((i as f64 + phase) * 12.9898).sin() * 1.7).collect();
    Tensor::from_slice(&values).view([9, columns])
}

fn largest(difference: Tensor) -> f64 {
    difference.abs().max().double_value(&[])
}

#[test]
fn predictions_are_those_of_the_loss_and_linear_in_the_known_parameters() {
    let (arena, model) = network("SIE(rot)");
    let method = model.method.unwrap();
    let predictor = method.predictor().unwrap();
    let (y1, y2, parameters) = (rough(16, 0.1), rough(16, 0.7), rough(6, 0.3));
    let (z1, z2) = (predictor.embed(&arena, &y1), predictor.embed(&arena, &y2));
    let predict = |parameters: &Tensor| predictor.predict(&arena, &z1, parameters);
    let error = (predict(&parameters) - &z2).square().mean(Kind::Double) * 4.5;

    let targets = Targets { labels: Tensor::zeros([9], (Kind::Int64, Device::Cpu)), parameters: parameters.copy() };
    let terms = method.global_terms(&arena, &y1, &y2, &targets);
    let (_, trained) = terms.iter().find(|(name, _)| *name == "equivariance").unwrap();
    assert!(largest(error - trained) < 1e-12);

    let other = rough(6, 0.9);
    let sum = predict(&(&parameters * 2.0 - &other));
    assert!(largest(sum - (predict(&parameters) * 2.0 - predict(&other))) < 1e-12);
    // color is withheld from SIE(rot)
    let recolored = Tensor::cat(&[parameters.narrow(1, 0, 4), other.narrow(1, 4, 2)], 1);
    assert!(largest(predict(&recolored) - predict(&parameters)) == 0.0);
    assert!(largest(predict(&other) - predict(&parameters)) > 1e-3);
}

#[test]
fn other_methods_predict_nothing() {
    for name in ["Ours", "VICReg", "Supervised", "Direct regression"] {
        assert!(network(name).1.method.unwrap().predictor().is_none(), "{name}");
    }
}
