//! A pack that no data root holds.

use std::fmt;

/// The pack of a suite that was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPack {
    /// Its file name.
    pub file: String,
    /// The command that makes it; empty if the suite does not say.
    pub made_by: String,
    /// Where it was looked for.
    pub searched: String,
}

impl MissingPack {
    /// The command that makes it.
    pub fn command(&self) -> &str {
        if self.made_by.is_empty() { "eqr-bench data pack" } else { &self.made_by }
    }
}

impl fmt::Display for MissingPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MissingPack { file, searched, .. } = self;
        let hint = format!("hint: make it with `{}` and pass its folder as --data-root", self.command());
        write!(f, "no pack {file}: {searched}\n{hint}")
    }
}

impl std::error::Error for MissingPack {}
