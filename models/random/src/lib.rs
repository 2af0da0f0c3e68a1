//! Random number generators that are functions of their keys.
//!
//! A key consists of a seed, an index and the purpose of the draw. It never depends on the rank, the thread
//! or the order of calls, so 1, 2 or 4 ranks see the same batches and the same weights. Parameters, samples
//! and probes each derive a generator from the key in their own way. Recorded results depend on all three
//! derivations, so none of them may change.

use rand::SeedableRng;
use rand_pcg::{Pcg64, Pcg64Mcg};

/// The purpose of a draw. Each purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    // for samples: keys of `sample_rng`
    /// Order of the samples in an epoch.
    Shuffle = 1,
    /// The base augmentation that makes view 1 of a photograph.
    BaseView = 2,
    /// The transformation that makes view 2 of a photograph from view 1.
    Transform = 3,
    /// Which two renders of an object form a pair.
    ViewPair = 4,
    /// Shape parameters of a procedural object.
    Shape = 5,
    /// Scene latents of a render.
    Latents = 6,
    /// Which samples an evaluation uses.
    Subset = 7,
    /// Which images have known parameters.
    Known = 9,
    /// What a planted encoder confuses, and the noise in its features.
    Planted = 10,
    // for probes: keys of `probe_rng`
    /// Initial weights of a probe. The index is the layer.
    ProbeWeights = 0x101,
    /// Order of a probe's samples. The index is the epoch.
    ProbeOrder = 0x102,
    /// Which view of each unit a probe sees. The index is the epoch.
    ProbeView = 0x103,
    /// Permutation of the targets for the sanity-check row.
    TargetPermutation = 0x104,
    /// Position, scale and flip of a segmentation crop. The index is the position of the crop in the list of
    /// all crops.
    SegmentationCrop = 0x105,
    /// Which objects a bootstrap draw holds. The seed is the number of objects, the index the draw.
    Bootstrap = 0x106,
    /// Which training images of a class a few-shot draw holds. The seed is the draw, the index the class.
    FewShot = 0x107,
}

impl Purpose {
    /// The number that enters the key. The two derivations number their purposes separately.
    fn key(self) -> u64 {
        self as u64 & 0xff
    }
}

/// Generator for sample `index` in `epoch`.
pub fn sample_rng(seed: u64, epoch: u64, index: u64, purpose: Purpose) -> Pcg64Mcg {
    let high = mix(mix(mix(mix(seed) ^ epoch) ^ index) ^ purpose.key());
    let low = mix(high ^ 0x5851_f42d_4c95_7f2d);
    Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low))
}

/// Generator for the draws of a probe.
pub fn probe_rng(seed: u64, index: u64, purpose: Purpose) -> Pcg64 {
    Pcg64::seed_from_u64(mix(mix(mix(seed) ^ purpose.key()) ^ index))
}

/// Generator for the initial values of the parameter `name`.
pub fn parameter_rng(seed: u64, name: &str) -> Pcg64Mcg {
    // FNV-1a, because the standard library's hasher may change
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Pcg64Mcg::seed_from_u64(seed ^ hash)
}

/// The finaliser of splitmix64, a bijection that maps neighbouring keys to distant values.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// Recorded results can be reproduced only as long as these values do not change.
    #[test]
    fn draws_are_what_they_were() {
        use Purpose::*;
        let purposes = [Shuffle, BaseView, Transform, ViewPair, Shape, Latents, Subset, Known];
        let samples = purposes.map(|purpose| sample_rng(1, 2, 3, purpose).r#gen::<u64>());
        let expected = [
            0x498a_541b_26b6_b018,
            0x3c82_4067_6a1d_b63a,
            0x5f91_a2ed_58c4_c28c,
            0x5679_b86c_41f2_3641,
            0xf4ed_a4ad_2424_e651,
            0xa5bc_80c0_5ac8_dc57,
            0x8867_6158_f53e_89cb,
            0x2009_9994_3be7_1573,
        ];
        assert_eq!(samples, expected);
        let purposes =
            [ProbeWeights, ProbeOrder, ProbeView, TargetPermutation, SegmentationCrop, Bootstrap, FewShot];
        let probes = purposes.map(|purpose| probe_rng(1, 2, purpose).r#gen::<u64>());
        let expected = [
            0x101c_6a34_6aa8_0e38,
            0x98ed_fd06_fb74_89c0,
            0x872c_10d5_de62_42bc,
            0xdbce_9efe_e687_ffd7,
            0x6b3a_e88d_0936_854d,
            0xc96f_193c_9676_83be,
            0x4dec_ea08_048e_3f71,
        ];
        assert_eq!(probes, expected);
        assert_eq!(parameter_rng(7, "blocks.0.norm1.weight").r#gen::<u64>(), 0x5709_837b_e7cf_8104);
    }

    #[test]
    fn every_part_of_a_key_changes_the_stream() {
        let sample = |seed, epoch, index| sample_rng(seed, epoch, index, Purpose::Shuffle).r#gen::<u64>();
        for other in [sample(2, 2, 3), sample(1, 3, 3), sample(1, 2, 4), sample(2, 1, 3)] {
            assert_ne!(sample(1, 2, 3), other);
        }
        let probe = |seed, index| probe_rng(seed, index, Purpose::ProbeOrder).r#gen::<u64>();
        assert!(probe(1, 2) != probe(2, 2) && probe(1, 2) != probe(1, 3));
        let parameter = |seed, name| parameter_rng(seed, name).r#gen::<u64>();
        assert!(parameter(1, "a") != parameter(2, "a") && parameter(1, "a") != parameter(1, "b"));
    }
}
