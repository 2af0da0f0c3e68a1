//! Random draws of probes: row orders and initial weights.

use eqr_random::{Purpose, probe_rng};
use rand::{Rng, seq::SliceRandom};
use tch::{Device, Tensor};

/// Random order of 0..n.
pub(crate) fn permutation(seed: u64, index: u64, purpose: Purpose, n: i64) -> Vec<i64> {
    let mut rows: Vec<i64> = (0..n).collect();
    rows.shuffle(&mut probe_rng(seed, index, purpose));
    rows
}

/// Weight (outputs, inputs) and bias (outputs) of one layer as torch's `Linear` draws them: both U(-b, b)
/// with b = 1/sqrt(inputs). The weight is drawn row by row, and the bias from another stream, so the first
/// outputs of a wider layer have the same weights as a narrower layer.
pub(crate) fn linear_layer(
    seed: u64,
    layer: u64,
    inputs: i64,
    outputs: i64,
    device: Device,
) -> (Tensor, Tensor) {
    let bound = 1.0 / (inputs as f32).sqrt();
    let uniform = |stream: u64, count: i64| -> Vec<f32> {
        let mut rng = probe_rng(seed, stream, Purpose::ProbeWeights);
        (0..count).map(|_| rng.gen_range(-bound..bound)).collect()
    };
    let weight = Tensor::from_slice(&uniform(2 * layer, inputs * outputs)).view([outputs, inputs]);
    let bias = Tensor::from_slice(&uniform(2 * layer + 1, outputs));
    (weight.to_device(device), bias.to_device(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    #[test]
    fn a_permutation_holds_every_row_once() {
        let mut rows = permutation(3, 1, Purpose::ProbeOrder, 8);
        assert_eq!(rows, [7, 1, 2, 3, 5, 6, 4, 0]);
        rows.sort_unstable();
        assert_eq!(rows, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn wider_layers_begin_with_the_narrower_ones_draws() {
        let (narrow, narrow_bias) = linear_layer(7, 2, 16, 1, test_device());
        let (wide, wide_bias) = linear_layer(7, 2, 16, 4, test_device());
        assert!(wide.narrow(0, 0, 1).equal(&narrow));
        assert!(wide_bias.narrow(0, 0, 1).equal(&narrow_bias));
        assert!(wide.abs().max().double_value(&[]) <= 0.25);
    }
}
