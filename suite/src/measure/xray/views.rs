//! Images seen by every layer of an encoder. Each image is encoded once.

use anyhow::Result;

use crate::console::counted;
use crate::data::pairs::PairSource;
use crate::encoder::layer::{Layer, LayeredEncoder};
use crate::measure::evaluation::{ENCODE, ENCODING};

/// All layers of the images `indices` of `source`, without augmentation.
pub(super) fn of_images(
    encoder: &dyn LayeredEncoder,
    source: &PairSource,
    indices: &[usize],
) -> Result<Vec<Layer>> {
    let batches = counted(ENCODING, indices.chunks(ENCODE));
    let batches = batches.map(|batch| encoder.layers(&source.images(batch)?));
    Ok(Layer::concatenated(&batches.collect::<Result<Vec<_>>>()?))
}

/// The numbers that occur in `all`, ascending.
pub(super) fn distinct(all: &[i64]) -> Vec<i64> {
    let mut found = all.to_vec();
    found.sort_unstable();
    found.dedup();
    found
}

/// The place of each of `numbers` in the ascending `all`.
pub(super) fn places(all: &[i64], numbers: &[i64]) -> Vec<i64> {
    let place = |number: &i64| all.binary_search(number).expect("it occurs") as i64;
    numbers.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_occur_have_places() {
        let numbers = distinct(&[7, 3, 7, 5]);
        assert_eq!(numbers, [3, 5, 7]);
        assert_eq!(places(&numbers, &[7, 3]), [2, 0]);
    }
}
