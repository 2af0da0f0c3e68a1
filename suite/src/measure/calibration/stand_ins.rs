//! The objects that a planted encoder takes for others.

use eqr_datasets::draw::{Purpose, rng};
use rand::seq::SliceRandom;

/// For each of `objects` objects the one that it is taken for: itself for a share `share` of them, and for
/// the others the next of these others in random order. `seed` and the number of the split give the order:
/// with a larger share, the same objects and others are taken for themselves.
pub(super) fn stand_ins(objects: usize, share: f64, seed: u64, split: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects).collect();
    order.shuffle(&mut rng(seed, 0, split as u64, Purpose::Planted));
    let mut taken_for: Vec<usize> = (0..objects).collect();
    let confused = &order[(share * objects as f64).round() as usize..];
    for (place, &object) in confused.iter().enumerate() {
        taken_for[object] = confused[(place + 1) % confused.len()];
    }
    taken_for
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_objects_stands_for_itself() {
        for (share, kept) in [(0.0, 0), (0.3, 3), (1.0, 10)] {
            let found = stand_ins(10, share, 0, 0);
            assert_eq!(found.iter().enumerate().filter(|&(object, &of)| object == of).count(), kept);
            let mut sorted = found.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>(), "every object stands once");
        }
        assert_ne!(stand_ins(10, 0.3, 0, 0), stand_ins(10, 0.3, 0, 1));
        assert_ne!(stand_ins(10, 0.3, 0, 0), stand_ins(10, 0.3, 1, 0));
    }
}
