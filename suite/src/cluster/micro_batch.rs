//! How many pairs a rank encodes at a time, as the command line says it.

use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::{Context, Result};

/// The value of `--micro-batch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MicroBatch {
    /// The rank's whole share of the batch.
    #[default]
    Whole,
    /// So many pairs.
    Pairs(NonZeroUsize),
    /// As many pairs as fit in the memory of the device, found by trying.
    Auto,
}

impl FromStr for MicroBatch {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(MicroBatch::Auto),
            pairs => {
                let pairs =
                    pairs.parse().ok().context("expected a number of pairs, at least 1, or `auto`")?;
                Ok(MicroBatch::Pairs(pairs))
            }
        }
    }
}

/// The numbers of pairs to try where a rank's share of the batch has at most `share` pairs: all of them,
/// half, a quarter, down to one.
pub fn tries(share: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(share), |&pairs| (pairs > 1).then(|| pairs.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use super::{MicroBatch, tries};

    #[test]
    fn numbers_above_zero_and_auto_are_known() {
        assert_eq!("auto".parse::<MicroBatch>().unwrap(), MicroBatch::Auto);
        assert_eq!("4".parse::<MicroBatch>().unwrap(), MicroBatch::Pairs(4.try_into().unwrap()));
        for wrong in ["0", "-1", "all", ""] {
            assert!(wrong.parse::<MicroBatch>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_try_has_half_the_pairs() {
        assert_eq!(tries(13).collect::<Vec<_>>(), [13, 7, 4, 2, 1]);
        assert_eq!(tries(1).collect::<Vec<_>>(), [1]);
    }
}
