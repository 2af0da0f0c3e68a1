//! The counts of a suite and their ranges. The upper ends are far above what is of use, so that a slip of the
//! pen is refused before the work and not met in the middle of it.

use std::ops::RangeInclusive;

use anyhow::{Result, ensure};

use crate::suite_file::data_source::Data;
use crate::suite_file::downstream_sets::SegmentationSet;
use crate::suite_file::suite::Suite;

/// Most seeds of anything: each is a cell, or a part of one.
pub const MOST_SEEDS: u64 = 1_000;
/// Most passes over a data set.
const MOST_EPOCHS: u64 = 1_000_000;
/// Most pairs or crops that are drawn.
const MOST_DRAWS: u64 = 100_000_000;
/// Largest batch.
const LARGEST_BATCH: u64 = 1_000_000;
/// Largest width of a layer.
const WIDEST: u64 = 65_536;
/// Most layers.
const DEEPEST: u64 = 1_000;
/// Largest side of an image in pixels.
const LARGEST_SIDE: u64 = 4_096;

/// A key, its value, and the range that it must be in.
type Count = (&'static str, u64, RangeInclusive<u64>);

/// Checks every count of a suite.
///
/// # Errors
/// The first key whose value is out of range, with its limit.
pub fn check(suite: &Suite) -> Result<()> {
    let segmentation = suite.segmentation.iter().flat_map(of_segmentation);
    let all = of_trainings(suite).into_iter().chain(of_network(suite)).chain(of_probes(suite));
    all.chain(segmentation).try_for_each(|(key, value, range)| {
        ensure!(value >= *range.start(), "{key} = {value}: must be at least {}", range.start());
        ensure!(value <= *range.end(), "{key} = {value}: must be at most {}", range.end());
        Ok(())
    })
}

fn of_trainings(suite: &Suite) -> Vec<Count> {
    let train = &suite.train;
    let side = match &suite.data {
        Data::Pack { side, .. } => side.map(|side| side as u64),
        // the set checks its own
        Data::Solids { .. } => None,
    };
    vec![
        ("seeds", suite.seeds, 1..=MOST_SEEDS),
        ("train.epochs", train.epochs, 1..=MOST_EPOCHS),
        ("train.ceiling_epochs", train.ceiling_epochs.unwrap_or(1), 1..=MOST_EPOCHS),
        ("train.probe_every", train.probe_every.unwrap_or(1), 1..=MOST_EPOCHS),
        ("train.batch", train.batch as u64, 2..=LARGEST_BATCH),
        ("data.side", side.unwrap_or(1), 1..=LARGEST_SIDE),
        ("number of active transforms", suite.transforms.active.len() as u64, 1..=u64::MAX),
    ]
}

/// What the network checks itself has no lower limit here.
fn of_network(suite: &Suite) -> Vec<Count> {
    let model = &suite.model;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    vec![
        ("model.head.hidden", number(model.head.hidden), 1..=WIDEST),
        ("model.head.embed", number(model.head.embed), 1..=WIDEST),
        ("model.dim", number(model.dim), 0..=WIDEST),
        ("model.out", number(model.out), 0..=WIDEST),
        ("model.depth", number(model.depth), 0..=DEEPEST),
        ("model.decoder.dim", number(model.decoder.dim), 0..=WIDEST),
        ("model.decoder.depth", number(model.decoder.depth), 0..=DEEPEST),
    ]
}

fn of_probes(suite: &Suite) -> Vec<Count> {
    let probe = &suite.probe;
    let (regression, classification) = (&probe.regression, &probe.classification);
    vec![
        ("probe.seeds", probe.seeds, 0..=MOST_SEEDS),
        ("probe.train_pairs", probe.train_pairs as u64, 2..=MOST_DRAWS),
        ("probe.test_pairs", probe.test_pairs as u64, 2..=MOST_DRAWS),
        ("probe.regression.hidden", regression.hidden as u64, 0..=WIDEST),
        ("probe.regression.epochs", regression.epochs as u64, 0..=MOST_EPOCHS),
        ("probe.regression.batch", regression.batch as u64, 0..=LARGEST_BATCH),
        ("probe.classification.epochs", classification.epochs as u64, 0..=MOST_EPOCHS),
        ("probe.classification.batch", classification.batch as u64, 0..=LARGEST_BATCH),
    ]
}

fn of_segmentation(SegmentationSet { seeds, head, .. }: &SegmentationSet) -> Vec<Count> {
    vec![
        ("segmentation.seeds", *seeds, 1..=MOST_SEEDS),
        ("segmentation.head.width", u64::try_from(head.width).unwrap_or(0), 0..=WIDEST),
        ("segmentation.head.steps", head.steps as u64, 0..=MOST_DRAWS),
        ("segmentation.head.batch", head.batch as u64, 0..=LARGEST_BATCH),
        ("segmentation.head.crop", u64::try_from(head.crop).unwrap_or(0), 0..=LARGEST_SIDE),
    ]
}

#[cfg(test)]
mod tests {
    use crate::suite_file::suite::Suite;

    #[test]
    fn a_count_out_of_range_is_refused_by_its_key() {
        let segmented = |set: &str| format!("segmentation=[{{file=\"a.h5\", made_by=\"x\", {set}}}]");
        for (assignment, says) in [
            ("seeds=1000000000000".to_owned(), "seeds = 1000000000000: must be at most 1000"),
            ("seeds=0".to_owned(), "seeds = 0: must be at least 1"),
            (
                "train.epochs=9000000000000000000".to_owned(),
                "train.epochs = 9000000000000000000: must be at most",
            ),
            ("train.batch=2000000".to_owned(), "train.batch = 2000000: must be at most 1000000"),
            ("probe.seeds=1001".to_owned(), "probe.seeds = 1001: must be at most 1000"),
            ("probe.test_pairs=1".to_owned(), "probe.test_pairs = 1: must be at least 2"),
            ("model.depth=1000000".to_owned(), "model.depth = 1000000: must be at most 1000"),
            (segmented("seeds=1001"), "segmentation.seeds = 1001: must be at most 1000"),
            (segmented("seeds=0"), "segmentation.seeds = 0: must be at least 1"),
            ("data.spec.views=100000000".to_owned(), "solids: 1600 objects x 100000000 views"),
            ("data.spec.objects_per_class=9000000000000000000".to_owned(), "exceed the 64 GiB"),
        ] {
            let found = format!("{:#}", Suite::load("quickstart", &[assignment]).unwrap_err());
            assert!(found.contains(says), "{found}");
        }
    }
}
