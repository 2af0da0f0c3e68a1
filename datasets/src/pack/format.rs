//! Constants of the pack format.

/// Value of the root attribute `format`.
pub(super) const FORMAT: &str = "eqr-pack";
/// Version that this program writes and reads.
pub(super) const VERSION: u32 = 2;
/// Names that a split may have, in the order of the file.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];
/// What to do about a damaged pack.
pub(super) const REPACK: &str = "hint: copy or pack the set again";

/// The reason for refusing a pack of another version.
pub(super) fn wrong_version(found: impl std::fmt::Display) -> String {
    format!(
        "expected {FORMAT} version {VERSION}, found version {found}\nhint: pack the set again with this program"
    )
}
