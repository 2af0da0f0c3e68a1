//! Retrieval measures the same predictions that SIE trains.

use eqr_models::methods::{Targets, build};
use eqr_models::test_device::test_device;
use eqr_models::{Arena, Compute, MethodKind, Model, ModelConfig, Registry};
use tch::{Kind, Tensor};

use crate::networks::tiny;
use crate::rough;

/// The method in f64, for a data set with quaternions and two hue differences as parameters.
fn network(method: &str) -> (Arena, Model) {
    let config = ModelConfig { sie_constant: false, ..tiny(&[("rotation", 4), ("color", 2)]) };
    let mut registry = Registry::default();
    let model = build(&method.parse::<MethodKind>().unwrap(), &config, &mut registry).unwrap();
    (Arena::new(registry, 5, Compute::F64, test_device()), model)
}

fn largest(difference: Tensor) -> f64 {
    difference.abs().max().double_value(&[])
}

#[test]
fn predictions_are_those_of_the_loss_and_linear_in_the_known_parameters() {
    let (arena, model) = network("SIE(rot)");
    let method = model.method.unwrap();
    let predictor = method.predictor().unwrap();
    let (y1, y2, parameters) = (rough(&[9, 16], 0.1), rough(&[9, 16], 0.7), rough(&[9, 6], 0.3));
    let (z1, z2) = (predictor.embed(&arena, &y1), predictor.embed(&arena, &y2));
    let predict = |parameters: &Tensor| predictor.predict(&arena, &z1, parameters);
    let error = (predict(&parameters) - &z2).square().mean(Kind::Double) * 4.5;

    let targets =
        Targets { labels: Tensor::zeros([9], (Kind::Int64, test_device())), parameters: parameters.copy() };
    let terms = method.global_terms(&arena, &y1, &y2, &targets);
    let (_, trained) = terms.iter().find(|(name, _)| *name == "equivariance").unwrap();
    assert!(largest(error - trained) < 1e-12);

    let other = rough(&[9, 6], 0.9);
    let sum = predict(&(&parameters * 2.0 - &other));
    assert!(largest(sum - (predict(&parameters) * 2.0 - predict(&other))) < 1e-12);
    // SIE(rot) does not get the color parameters
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
