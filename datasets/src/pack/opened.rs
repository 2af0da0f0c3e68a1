//! An open pack.

use std::path::{Path, PathBuf};

use super::split::PackedSplit;
use crate::error::{Error, Result};
use crate::set_kind::SetKind;

/// An open pack. Its images stay in the file.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Name in tables.
    pub name: String,
    /// What a pair is.
    pub kind: SetKind,
    /// Class names; labels index it. In sets with masks, the names of the ids 1, 2, ...
    pub class_names: Vec<String>,
    /// Per-channel mean of the training images, in [0, 1].
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training images, in [0, 1] units.
    pub std: [f32; 3],
    /// How the set was made, as JSON.
    pub provenance: serde_json::Value,
    /// BLAKE3 (hex) of the data, independent of the layout of the file.
    pub content: String,
    /// The splits, in the order of [`super::SPLITS`].
    pub splits: Vec<PackedSplit>,
    pub(super) path: PathBuf,
}

impl Pack {
    /// The split of this name, if it exists.
    pub fn split(&self, name: &str) -> Option<&PackedSplit> {
        self.splits.iter().find(|split| split.name == name)
    }

    /// The split of this name.
    ///
    /// # Errors
    /// [`Error::Format`] if it does not exist; the message names the splits that do.
    pub fn expect_split(&self, name: &str) -> Result<&PackedSplit> {
        self.split(name).ok_or_else(|| {
            let found = self.splits.iter().map(|split| split.name).collect::<Vec<_>>().join(", ");
            Error::format(&self.path, format!("the pack has no split `{name}`, only {found}"))
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
