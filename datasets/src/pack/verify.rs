//! Checking every byte of a pack.

use std::path::Path;

use super::format::REPACK;
use super::opened::Pack;
use super::reader::Reader;
use crate::error::{Error, Result};

/// Reads the pack at `path` and checks every byte.
///
/// # Errors
/// The errors of [`Pack::open`]; [`Error::Format`] for the first damaged image or mask, named like `train
/// image 17 (cat/0012.jpg)`.
pub fn verify(path: impl AsRef<Path>) -> Result<Pack> {
    let path = path.as_ref();
    let reader = Reader::open(path)?;
    let pack = reader.pack()?;
    for split in &pack.splits {
        for masks in [false, true] {
            if masks && !split.has_masks() {
                continue;
            }
            if let Some(index) = split.first_damaged(masks)? {
                let names = reader.names(split.name, split.len())?;
                let name = names.map(|names| format!(" ({})", names[index])).unwrap_or_default();
                let what = format!("{} {} {index}{name}", split.name, if masks { "mask" } else { "image" });
                let reason =
                    format!("{what} is damaged: its bytes do not have the recorded checksum\n{REPACK}");
                return Err(Error::format(path, reason));
            }
        }
    }
    Ok(pack)
}
