//! What a file holds, as seen from its first bytes.

use crate::file_kind::FileKind;

/// A kind of output.
pub struct OutputKind {
    /// As in "an existing file that is not ...".
    pub name: &'static str,
    /// Whether a file that begins with these bytes is of this kind. Damaged files and those of other versions
    /// are.
    pub begins: fn(&[u8]) -> bool,
}

impl OutputKind {
    /// Pictures.
    pub const PNG: OutputKind =
        OutputKind { name: "a PNG picture", begins: |start| FileKind::of(start) == FileKind::Png };
}
