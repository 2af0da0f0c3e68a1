//! Which two renders of an object form a pair.

use rand::Rng;

use crate::draw::{Purpose, rng};

/// Two different views of each of `units` (objects with `views` >= 2 renders), as image indices. A pair
/// depends only on seed, epoch and unit.
pub fn view_pairs(views: usize, seed: u64, epoch: u64, units: &[usize]) -> Vec<[usize; 2]> {
    let pair = |&unit: &usize| {
        let mut draw = rng(seed, epoch, unit as u64, Purpose::ViewPair);
        let first = draw.gen_range(0..views);
        let second = (first + draw.gen_range(1..views)) % views;
        [unit * views + first, unit * views + second]
    };
    units.iter().map(pair).collect()
}
