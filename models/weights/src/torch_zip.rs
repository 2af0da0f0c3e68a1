//! What `torch.save` writes since PyTorch 1.6: a zip archive with a pickle (`data.pkl`) and one member for
//! each storage (`data/0`, `data/1`, ..), all in one folder.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::{Error, Result};
use crate::tensor::Storage;

/// Largest pickle that is read, in bytes: names and shapes, not values.
const LARGEST_PICKLE: u64 = 1 << 28;

/// An open archive.
pub(crate) struct TorchZip {
    archive: ZipArchive<File>,
    /// Name of its folder, with a slash.
    folder: String,
}

impl TorchZip {
    /// Opens the archive at `path` and reads its pickle.
    ///
    /// # Errors
    /// An archive that is damaged or is not one of `torch.save`; numbers in big-endian order.
    pub fn open(path: &Path) -> Result<(TorchZip, Vec<u8>)> {
        let archive = ZipArchive::new(File::open(path)?).map_err(|error| damaged(&error))?;
        let pickle = archive.file_names().flatten().find(|name| name.ends_with("data.pkl"));
        let Some(pickle) = pickle.map(|name| name.into_owned()) else {
            return Error::form("a zip archive without data.pkl: torch.save did not write it");
        };
        let folder = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
        let mut file = TorchZip { archive, folder };
        if file.archive.index_for_name(&format!("{}constants.pkl", file.folder)).is_some() {
            return Error::form("a TorchScript module, not what torch.save writes");
        }
        let order = file.member("byteorder", 16).unwrap_or_default();
        if order == b"big" {
            return Error::form("its numbers are big-endian\nhint: save it on a little-endian machine");
        }
        let bytes = file.member("data.pkl", LARGEST_PICKLE)?;
        Ok((file, bytes))
    }

    /// The bytes of a storage.
    ///
    /// # Errors
    /// A storage that is missing or has another size.
    pub fn storage(&mut self, storage: &Storage) -> Result<Vec<u8>> {
        let expected = storage.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX);
        let bytes = self.member(&format!("data/{}", storage.key), expected)?;
        if bytes.len() as u64 != expected {
            return Error::form(format!(
                "the storage data/{} has {} bytes, expected {expected}",
                storage.key,
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    /// The member `name` of the folder, of at most `most` bytes. Memory grows with what is read, not with
    /// what the archive claims.
    fn member(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let mut member =
            self.archive.by_name(&format!("{}{name}", self.folder)).map_err(|error| damaged(&error))?;
        if member.size() > most {
            return Error::form(format!(
                "the member {name} has {} bytes, expected at most {most}",
                member.size()
            ));
        }
        let mut bytes = Vec::new();
        let read = member.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| Error::Form(format!("the member {name} is damaged: {error}\n{AGAIN}")))?;
        Ok(bytes)
    }
}

const AGAIN: &str = "hint: copy or download it again";

fn damaged(error: &ZipError) -> Error {
    Error::Form(format!("a zip archive that is truncated or damaged: {error}\n{AGAIN}"))
}
