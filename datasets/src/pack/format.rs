//! Constants of the pack format.

use std::ops::RangeInclusive;

use crate::file_kind::FileKind;
use crate::output::OutputKind;

/// Value of the root attribute `format`.
pub(super) const FORMAT: &str = "eqr-pack";
/// Version that this program writes.
pub(super) const VERSION: u32 = 3;
/// Versions that it reads.
pub(super) const READABLE: RangeInclusive<u32> = NAMES_IN_ATTRIBUTE..=VERSION;
/// The version whose class names are an attribute. HDF5 allows an attribute 64 KiB, which 4,095 names fill.
pub(super) const NAMES_IN_ATTRIBUTE: u32 = 2;
/// Packs among the files that may be replaced.
pub const PACK: OutputKind =
    OutputKind { name: "a pack", begins: |start| FileKind::of(start) == FileKind::Pack };
/// Possible split names, in file order.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];
/// The hint for a damaged pack.
pub(super) const REPACK: &str = "hint: copy the pack again, or pack the set again";

/// The reason for refusing a pack of another version.
pub(super) fn wrong_version(found: impl std::fmt::Display) -> String {
    let (oldest, newest) = (READABLE.start(), READABLE.end());
    format!(
        "expected {FORMAT} version {oldest} to {newest}, found version {found}\n\
         hint: pack the set again with this program"
    )
}
