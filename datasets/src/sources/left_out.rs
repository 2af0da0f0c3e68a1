//! Counting what is left out of a pack, by kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::listing::Listing;
use crate::file_kind::FileKind;

/// The number of files of each kind: `3 AVIF images, 1 text file`. The most frequent kinds come first.
pub(super) fn counted(kinds: impl Iterator<Item = FileKind>) -> String {
    let mut counts: BTreeMap<FileKind, usize> = BTreeMap::new();
    kinds.for_each(|kind| *counts.entry(kind).or_default() += 1);
    let mut counts: Vec<(FileKind, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
    counts.into_iter().map(|(kind, count)| kind.counted(count)).collect::<Vec<_>>().join(", ")
}

/// Notes how many members are not among the `images` that are packed, and their kinds.
pub(super) fn note_passed_over(notes: &mut Value, listing: &Listing, images: usize) {
    notes["files_passed_over"] = json!(listing.members.len() - images);
    let kinds = counted(listing.kinds.values().copied().filter(|kind| !kind.is_readable_image()));
    if !kinds.is_empty() {
        notes["files_passed_over_by_kind"] = json!(kinds);
    }
}
