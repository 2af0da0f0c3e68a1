//! Random draws as functions of their keys.
//!
//! Every draw is keyed by (seed, epoch, sample index, purpose), never by the rank, the thread or the order of
//! calls, so that 1, 2 or 4 ranks see the same batches and the same views.

use rand_pcg::Pcg64Mcg;

/// What a draw is for; each purpose has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Order of the samples in an epoch.
    Shuffle = 1,
    /// The base augmentation that makes view 1 of a photograph.
    BaseView = 2,
    /// The transformation that makes view 2 of a photograph from view 1.
    Transform = 3,
    /// Which two renders of an object make a pair.
    ViewPair = 4,
    /// Shape parameters of a procedural object.
    Shape = 5,
    /// Scene latents of a render.
    Latents = 6,
    /// Which samples an evaluation takes.
    Subset = 7,
    /// Permutation of targets in the sanity row.
    TargetShuffle = 8,
    /// Which images carry known parameters.
    Known = 9,
}

/// A generator that depends on its four keys alone.
pub fn rng(seed: u64, epoch: u64, index: u64, purpose: Purpose) -> Pcg64Mcg {
    let high = mix(mix(mix(mix(seed) ^ epoch) ^ index) ^ purpose as u64);
    let low = mix(high ^ 0x5851_f42d_4c95_7f2d);
    Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low))
}

/// The finaliser of splitmix64: a bijection that scatters neighbouring keys.
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

    #[test]
    fn each_key_changes_the_stream_and_equal_keys_do_not() {
        let first = |s, e, i, p| rng(s, e, i, p).r#gen::<u64>();
        let base = first(1, 2, 3, Purpose::Shuffle);
        assert_eq!(base, first(1, 2, 3, Purpose::Shuffle));
        for other in [
            first(2, 2, 3, Purpose::Shuffle),
            first(1, 3, 3, Purpose::Shuffle),
            first(1, 2, 4, Purpose::Shuffle),
            first(1, 2, 3, Purpose::BaseView),
            first(2, 1, 3, Purpose::Shuffle),
        ] {
            assert_ne!(base, other);
        }
    }
}
