//! The counts of a suite and their ranges. The upper ends are far above what is of use, so that a slip of the
//! pen is refused before the work and not met in the middle of it.

use std::ops::RangeInclusive;

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

/// Keys and their ranges, which the schema of suites takes from here. The width, depth and heads of the
/// encoder are 0 if `model.size` gives them.
pub const RANGES: [(&str, RangeInclusive<u64>); 34] = [
    ("seeds", 1..=MOST_SEEDS),
    ("data.side", 1..=LARGEST_SIDE),
    ("model.patch", 1..=LARGEST_SIDE),
    ("model.dim", 0..=WIDEST),
    ("model.depth", 0..=DEEPEST),
    ("model.heads", 0..=WIDEST),
    ("model.out", 2..=WIDEST),
    ("model.head.hidden", 1..=WIDEST),
    ("model.head.embed", 1..=WIDEST),
    ("model.decoder.dim", 1..=WIDEST),
    ("model.decoder.depth", 1..=DEEPEST),
    ("train.batch", 2..=LARGEST_BATCH),
    ("train.epochs", 1..=MOST_EPOCHS),
    ("train.ceiling_epochs", 1..=MOST_EPOCHS),
    ("train.probe_every", 1..=MOST_EPOCHS),
    ("probe.seeds", 0..=MOST_SEEDS),
    ("probe.train_pairs", 2..=MOST_DRAWS),
    ("probe.test_pairs", 2..=MOST_DRAWS),
    ("probe.regression.hidden", 1..=WIDEST),
    ("probe.regression.epochs", 1..=MOST_EPOCHS),
    ("probe.regression.batch", 1..=LARGEST_BATCH),
    ("probe.classification.epochs", 1..=MOST_EPOCHS),
    ("probe.classification.batch", 1..=LARGEST_BATCH),
    ("xray.train_pairs", 2..=MOST_DRAWS),
    ("xray.test_pairs", 2..=MOST_DRAWS),
    ("xray.seeds", 1..=MOST_SEEDS),
    ("xray.epochs", 1..=MOST_EPOCHS),
    ("xray.hidden", 1..=WIDEST),
    ("transfer.few_shot.draws", 1..=MOST_SEEDS),
    ("segmentation.seeds", 1..=MOST_SEEDS),
    ("segmentation.head.width", 1..=WIDEST),
    ("segmentation.head.steps", 1..=MOST_DRAWS),
    ("segmentation.head.batch", 1..=LARGEST_BATCH),
    ("segmentation.head.crop", 1..=LARGEST_SIDE),
];

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
            (
                "transfer=[{file=\"a.h5\", few_shot={shots=[2, 1]}}]".to_owned(),
                "few_shot.shots = [2, 1], expected ascending",
            ),
            (segmented("seeds=1001"), "segmentation.seeds = 1001: must be at most 1000"),
            (segmented("seeds=0"), "segmentation.seeds = 0: must be at least 1"),
            (segmented("head={crop=5000}"), "segmentation.head.crop = 5000: must be at most 4096"),
            ("data.spec.views=100000000".to_owned(), "solids: 1600 objects x 100000000 views"),
            ("data.spec.objects_per_class=9000000000000000000".to_owned(), "exceed the 64 GiB"),
        ] {
            let found = format!("{:#}", Suite::load("quickstart", &[assignment]).unwrap_err());
            assert!(found.contains(says), "{found}");
        }
    }
}
