//! Constants of the pack format.

use crate::output::OutputKind;

/// Value of the root attribute `format`.
pub(super) const FORMAT: &str = "eqr-pack";
/// Version that this program writes and reads.
pub(super) const VERSION: u32 = 2;
/// Packs among the files that may be replaced.
pub const PACK: OutputKind =
    OutputKind { name: "a pack", begins: |start| start.starts_with(FORMAT.as_bytes()) };
/// Possible split names, in file order.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];
/// The hint for a damaged pack.
pub(super) const REPACK: &str = "hint: copy the pack again, or pack the set again";

/// The reason for refusing a pack of another version.
pub(super) fn wrong_version(found: impl std::fmt::Display) -> String {
    format!(
        "expected {FORMAT} version {VERSION}, found version {found}\nhint: pack the set again with this program"
    )
}
