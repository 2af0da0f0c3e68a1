//! Names of members: which are used, which are skipped and which are refused.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// File name endings of the archives that are read as folders. Longer endings come first.
pub(crate) const ARCHIVE_ENDINGS: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];
/// The folder of metadata files in zips made on a Mac. These files have the same names as the real files.
const MAC_SIDE_FOLDER: &str = "__MACOSX";

/// `name` with its components joined by `/`. `None` for the root (`./`) and for hidden files.
///
/// # Errors
/// The reason why the name is not allowed.
pub(super) fn normalized(name: &[u8]) -> Result<Option<String>, String> {
    let mut components = Vec::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => components.push(part.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path contains `..`".into()),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute".into()),
        }
    }
    if components.is_empty() || components.iter().any(|component| is_hidden(component)) {
        return Ok(None);
    }
    Ok(Some(line(&components.join(&b'/'))))
}

/// `name` as one line of text. Bytes that are not UTF-8 are written as `\xE9`, and a line feed as `\x0A`,
/// because lists and packs use line feeds to separate names.
pub(super) fn line(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text += &chunk.valid().replace('\n', "\\x0A");
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text
}

/// Whether a path component is hidden. macOS's `._x` and `.DS_Store` count as hidden.
pub(super) fn is_hidden(component: &[u8]) -> bool {
    component.starts_with(b".") || component == MAC_SIDE_FOLDER.as_bytes()
}

/// Whether the name has the ending of an archive.
pub(super) fn is_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ARCHIVE_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// `name` for an error message.
pub(super) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The names seen so far. Only 16 bytes of each name's BLAKE3 hash are kept: about 40 MB for a million files.
#[derive(Default)]
pub(super) struct SeenNames(HashSet<[u8; 16]>);

impl SeenNames {
    /// Adds `name`. Returns false if it was already in the set.
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        let hash = blake3::hash(name);
        let (half, _) = hash.as_bytes().split_at(16);
        half.try_into().is_ok_and(|half| self.0.insert(half))
    }
}
