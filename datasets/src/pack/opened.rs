//! An open pack.

use std::path::{Path, PathBuf};

use super::split::PackedSplit;
use crate::error::{Error, Result};
use crate::set_kind::SetKind;

/// An open pack. Its images stay in the file.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Version of the format.
    pub version: u32,
    /// Name in tables.
    pub name: String,
    /// What a pair of views is.
    pub kind: SetKind,
    /// Class names, indexed by label; one name if the images have no labels. In sets with masks, the names of
    /// the ids 1, 2, ...
    pub class_names: Vec<String>,
    /// Per-channel mean of the training images, in [0, 1].
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training images, in [0, 1] units.
    pub std: [f32; 3],
    /// How the set was made, as JSON.
    pub provenance: serde_json::Value,
    /// BLAKE3 hash (hex) of the data. It does not depend on the layout of the file.
    pub content: String,
    /// The splits, in the order of [`super::SPLITS`].
    pub splits: Vec<PackedSplit>,
    pub(super) path: PathBuf,
}

impl Pack {
    /// The split `name`, if it exists.
    pub fn split(&self, name: &str) -> Option<&PackedSplit> {
        self.splits.iter().find(|split| split.name == name)
    }

    /// The split `name`.
    ///
    /// # Errors
    /// [`Error::Format`] if the split does not exist. The message lists the splits that do.
    pub fn expect_split(&self, name: &str) -> Result<&PackedSplit> {
        self.split(name).ok_or_else(|| {
            let found = self.splits.iter().map(|split| split.name).collect::<Vec<_>>().join(", ");
            Error::format(&self.path, format!("the pack has no split `{name}`, only {found}"))
        })
    }

    /// Whether the images are of several classes.
    pub fn has_labels(&self) -> bool {
        self.class_names.len() > 1
    }

    /// Checks that there are labels, which `what` needs.
    ///
    /// # Errors
    /// [`Error::Format`] if there are none.
    pub fn expect_labels(&self, what: &str) -> Result<()> {
        if self.has_labels() {
            return Ok(());
        }
        let reason = format!(
            "the images have no labels, or those of one class, and {what} measures how well classes are told apart\n\
             hint: `eqr-bench probe` needs no labels; `data pack class-folders` makes them from the names of folders"
        );
        Err(Error::format(&self.path, reason))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
