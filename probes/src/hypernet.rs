//! HyperNet's head on a frozen encoder (protocol section 6, after Kong et al. 2016): token maps from several
//! depths are normalised, projected to the same width by a 5 x 5 convolution and resized to a quarter of the
//! image's side. They are then concatenated and classified by convolutions.
//!
//! Symbols in the shapes: N images of H x W pixels, D_i channels of map i, width W', C classes.

use crate::draws::linear_layer;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// Ratio of the image's side to the side of the logits.
const REDUCTION: i64 = 4;
/// Epsilon added to the variance in the normalisation.
const EPS: f64 = 1e-6;

/// The head. Its parameters are in `store`.
pub struct HyperNet {
    store: VarStore,
    /// One convolution for each map, D_i -> W'.
    branches: Vec<Convolution>,
    /// All maps -> W'.
    merge: Convolution,
    /// W' -> C.
    classifier: Convolution,
}

/// A convolution that keeps the height and the width.
struct Convolution {
    /// (outputs, inputs, side, side)
    weight: Tensor,
    /// (outputs)
    bias: Tensor,
}

impl HyperNet {
    /// A head for maps of `channels` channels each. The initial weights depend only on `seed` and follow
    /// torch's default for convolutions.
    pub fn new(channels: &[i64], width: i64, classes: i64, seed: u64, device: Device) -> HyperNet {
        let store = VarStore::new(device);
        let mut layer = 0;
        let mut convolution = |inputs: i64, outputs: i64, side: i64| {
            let (weight, bias) = linear_layer(seed, layer, inputs * side * side, outputs, device);
            let name = |what: &str| format!("{layer}_{what}");
            let weight = store.root().var_copy(&name("weight"), &weight.view([outputs, inputs, side, side]));
            let bias = store.root().var_copy(&name("bias"), &bias);
            layer += 1;
            Convolution { weight, bias }
        };
        let branches: Vec<Convolution> =
            channels.iter().map(|&channels| convolution(channels, width, 5)).collect();
        let merge = convolution(width * channels.len() as i64, width, 3);
        let classifier = convolution(width, classes, 1);
        HyperNet { branches, merge, classifier, store }
    }

    /// The parameters, for an optimiser.
    pub(crate) fn store(&self) -> &VarStore {
        &self.store
    }

    /// Logits (N, C, H/4, W/4), with sides rounded up, for images of `size` (H, W), from their maps (N, D_i,
    /// h_i, w_i).
    pub fn forward(&self, maps: &[Tensor], size: (i64, i64)) -> Tensor {
        let size = [(size.0 + REDUCTION - 1) / REDUCTION, (size.1 + REDUCTION - 1) / REDUCTION];
        let resized = |(map, branch): (&Tensor, &Convolution)| {
            branch.apply(&normalised(map)).relu().upsample_bilinear2d(size, false, None, None)
        };
        let all: Vec<Tensor> = maps.iter().zip(&self.branches).map(resized).collect();
        self.classifier.apply(&self.merge.apply(&Tensor::cat(&all, 1)).relu())
    }
}

impl Convolution {
    fn apply(&self, x: &Tensor) -> Tensor {
        let side = self.weight.size()[2] / 2;
        x.conv2d(&self.weight, Some(&self.bias), [1, 1], [side, side], [1, 1], 1)
    }
}

/// `map` (N, D, h, w) normalised to mean 0 and variance 1 over the channels at every position, float32.
fn normalised(map: &Tensor) -> Tensor {
    let map = map.to_kind(Kind::Float);
    let (variance, mean) = map.var_mean_dim(&[1i64][..], false, true);
    (map - mean) / (variance + EPS).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    #[test]
    fn maps_of_any_size_become_a_quarter() {
        let maps = [(8, 6, 5), (4, 3, 3)]
            .map(|(channels, h, w)| Tensor::ones([2, channels, h, w], (tch::Kind::Float, test_device())));
        let head = HyperNet::new(&[8, 4], 16, 7, 0, test_device());
        assert_eq!(head.forward(&maps, (50, 40)).size(), [2, 7, 13, 10]);
        // 5 x 5 for each map, 3 x 3 for both together, 1 x 1
        let weights = 25 * (8 + 4) * 16 + 16 * 2 + 9 * 32 * 16 + 16 + 16 * 7 + 7;
        let parameters = head.store().trainable_variables();
        assert_eq!(parameters.iter().map(|t| t.numel()).sum::<usize>(), weights);
        let again = HyperNet::new(&[8, 4], 16, 7, 0, test_device()).store().variables();
        assert!(head.store().variables().iter().all(|(name, t)| again[name].equal(t)));
    }

    #[test]
    fn the_scale_of_a_map_does_not_matter() {
        let map = Tensor::arange(2 * 6 * 3 * 3, (Kind::Float, test_device())).sin().view([2, 6, 3, 3]);
        let head = HyperNet::new(&[6], 8, 3, 1, test_device());
        let (a, b) = (head.forward(&[map.copy()], (12, 12)), head.forward(&[map * 50.0 + 3.0], (12, 12)));
        assert!((a - b).abs().max().double_value(&[]) < 1e-4);
    }
}
