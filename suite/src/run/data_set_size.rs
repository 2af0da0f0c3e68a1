//! The size of a data set: from its pack if there is one, else from published figures.

use std::path::PathBuf;

use anyhow::Result;
use eqr_datasets::solids::CLASS_COUNT;
use eqr_datasets::sources::source;
use eqr_datasets::{Pack, PackedSplit, SetKind};

use crate::data::open::find_pack;
use crate::suite_file::data_source::Data;
use crate::suite_file::suite::Suite;

/// Side of the images in pixels if the pack is missing and the suite does not give a side.
const UNKNOWN_SIDE: usize = 32;

/// Side of the images in pixels if the pack holds several sizes.
const SEVERAL_SIZES: usize = 224;

/// Number of classes if the pack is missing: ImageNet's.
const UNKNOWN_CLASSES: usize = 1000;

/// What is known about a data set before its images are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataSetSize {
    /// Photographs or renders.
    pub(super) kind: SetKind,
    /// Side of the images that the network takes, in pixels.
    pub(super) side: usize,
    /// Number of objects or images in the training split, if known.
    pub(super) units: Option<usize>,
    /// Number of classes.
    pub(super) classes: usize,
}

/// The pack `file`, if one of the folders `roots` contains it and it can be read.
fn pack(file: &str, roots: &[PathBuf]) -> Option<Pack> {
    find_pack(file, "", roots).ok().and_then(|path| Pack::open(path).ok())
}

/// The size of the suite's own data set.
///
/// # Errors
/// Out-of-range values of a set that is to be rendered.
pub(super) fn data_set_size(suite: &Suite, roots: &[PathBuf]) -> Result<DataSetSize> {
    let (file, made_by, side) = match &suite.data {
        Data::Solids { spec } => {
            let units = spec.training_units()?;
            return Ok(DataSetSize { kind: spec.kind, side: spec.side, units, classes: CLASS_COUNT });
        }
        Data::Pack { file, made_by, side } => (file, made_by, *side),
    };
    if let Some(pack) = pack(file, roots) {
        let train = pack.split("train");
        let side = side.or(train.and_then(PackedSplit::side)).unwrap_or(SEVERAL_SIZES);
        let units = train.map(PackedSplit::units);
        return Ok(DataSetSize { kind: pack.kind, side, units, classes: pack.class_names.len() });
    }
    let renders = made_by.contains("3diebench") || made_by.contains("solids");
    Ok(DataSetSize {
        kind: if renders { SetKind::Renders } else { SetKind::Photographs },
        side: side.unwrap_or(UNKNOWN_SIDE),
        units: published(made_by).map(|sizes| sizes[0]),
        classes: UNKNOWN_CLASSES,
    })
}

/// Number of images in all splits of the pack `file`, if known.
pub(super) fn image_count(file: &str, made_by: &str, roots: &[PathBuf]) -> Option<usize> {
    match pack(file, roots) {
        Some(pack) => Some(
            ["train", "val", "test"].iter().filter_map(|name| pack.split(name)).map(PackedSplit::len).sum(),
        ),
        None => published(made_by).map(|sizes| sizes.iter().sum()),
    }
}

/// Published sizes of the splits, training first, for the kind of source that the command `made_by` names.
fn published(made_by: &str) -> Option<Vec<usize>> {
    let command = ["data pack ", "data fetch "].iter().find_map(|command| made_by.split_once(command))?;
    let kind = command.1.split(' ').next()?;
    let sizes = source(kind)?.info.sizes.split('(').next()?;
    let numbers: Vec<usize> = sizes
        .split('/')
        .filter_map(|split| split.split_whitespace().next()?.replace(',', "").parse().ok())
        .collect();
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_public_sets_are_known_without_their_packs() {
        let sizes = |kind: &str| published(&format!("eqr-bench data pack {kind} INPUT --out x.h5"));
        assert_eq!(sizes("imagenet"), Some(vec![1_281_167, 50_000]));
        assert_eq!(sizes("3diebench"), Some(vec![41_920, 10_552]));
        assert_eq!(sizes("cifar10"), Some(vec![50_000, 10_000]));
        assert_eq!(published("eqr-bench data fetch cifar10"), sizes("cifar10"));
        assert_eq!(sizes("class-folders"), None);
        assert_eq!(published("something else"), None);
    }
}
