//! Random draws as functions of (seed, purpose, index), never of the order of calls.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;
use tch::{Device, Tensor};

/// What a draw is for: each purpose has a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Initial weights; the index is the layer.
    Init = 1,
    /// Order of the samples; the index is the epoch.
    Order = 2,
    /// Which view of each unit; the index is the epoch.
    View = 3,
    /// Shuffled targets.
    Permute = 4,
    /// Where, how large and how a scene is cropped; the index is the position in the list of all crops.
    Crop = 5,
}

/// Finaliser of splitmix64: neighbouring keys give unrelated values.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Generator of (seed, purpose, index).
pub(crate) fn generator(seed: u64, purpose: Purpose, index: u64) -> Pcg64 {
    Pcg64::seed_from_u64(mix(mix(mix(seed) ^ purpose as u64) ^ index))
}

/// Random order of 0..n.
pub(crate) fn order(seed: u64, purpose: Purpose, index: u64, n: i64) -> Vec<i64> {
    let mut rows: Vec<i64> = (0..n).collect();
    rows.shuffle(&mut generator(seed, purpose, index));
    rows
}

/// Weight (outputs, inputs) and bias (outputs) of one layer as torch's `Linear` draws them: both U(-b, b) with
/// b = 1/sqrt(inputs). The weight is drawn row by row and the bias from a stream of its own, so that the first outputs
/// of a wider layer are those of a narrower one.
pub(crate) fn linear(seed: u64, layer: u64, inputs: i64, outputs: i64, device: Device) -> (Tensor, Tensor) {
    let bound = 1.0 / (inputs as f32).sqrt();
    let uniform = |stream: u64, count: i64| -> Vec<f32> {
        let mut rng = generator(seed, Purpose::Init, stream);
        (0..count).map(|_| rng.gen_range(-bound..bound)).collect()
    };
    let weight = Tensor::from_slice(&uniform(2 * layer, inputs * outputs)).view([outputs, inputs]);
    let bias = Tensor::from_slice(&uniform(2 * layer + 1, outputs));
    (weight.to_device(device), bias.to_device(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_part_of_the_key() {
        let base = order(0, Purpose::Order, 0, 100);
        assert_eq!(base, order(0, Purpose::Order, 0, 100));
        for other in
            [order(1, Purpose::Order, 0, 100), order(0, Purpose::Permute, 0, 100), order(0, Purpose::Order, 1, 100)]
        {
            assert_ne!(base, other);
        }
        let mut sorted = base;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn wider_layers_begin_with_the_narrower_ones_draws() {
        let (narrow, narrow_bias) = linear(7, 2, 16, 1, Device::Cpu);
        let (wide, wide_bias) = linear(7, 2, 16, 4, Device::Cpu);
        assert!(wide.narrow(0, 0, 1).equal(&narrow));
        assert!(wide_bias.narrow(0, 0, 1).equal(&narrow_bias));
        assert!(wide.abs().max().double_value(&[]) <= 0.25);
    }
}
