//! Integration tests of eqr-models.

mod exactness;
mod networks;
mod predictor;
mod reference;

use eqr_models::test_device::test_tensor;
use tch::Tensor;

/// A fixed, rough signal in f64. It needs no random generator, which parallel tests would share.
fn rough(shape: &[i64], phase: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| ((i as f64 + phase) * 12.9898).sin() * 1.7).collect();
    test_tensor(&values).view(shape)
}
