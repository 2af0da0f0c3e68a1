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

/// The numbers that occur in `all`, ascending, and a function that gives the places of numbers among them.
pub(super) fn distinct(all: &[i64]) -> (Vec<i64>, impl Fn(&[i64]) -> Vec<i64> + use<>) {
    let mut found = all.to_vec();
    found.sort_unstable();
    found.dedup();
    let numbers = found.clone();
    let place = move |number: &i64| found.binary_search(number).expect("it occurs") as i64;
    (numbers, move |of: &[i64]| of.iter().map(&place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_occur_have_places() {
        let (numbers, places) = distinct(&[7, 3, 7, 5]);
        assert_eq!((numbers, places(&[7, 3])), (vec![3, 5, 7], vec![2, 0]));
    }
}
