//! Names of members: which are taken, which are passed over, which are refused.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Endings of the archives that are descended into.
const ARCHIVES: [&str; 4] = [".tar", ".tar.gz", ".tgz", ".zip"];
/// Folder in which a Mac's zip keeps side files that bear the names of the files themselves.
const MAC_SIDE_FOLDER: &str = "__MACOSX";

/// `name` with its parts joined by `/`; nothing for the root (`./`) and for hidden files, or why there must be no such
/// name.
pub(super) fn plain(name: &[u8]) -> Result<Option<String>, String> {
    let mut parts = Vec::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => parts.push(part.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path holds `..`".into()),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute".into()),
        }
    }
    if parts.is_empty() || parts.iter().any(|part| is_hidden(part)) {
        return Ok(None);
    }
    utf8_line(&parts.join(&b'/')).map(|name| Some(name.to_owned()))
}

/// `name` as text of one line: lists and packs end a name with a line feed.
pub(super) fn utf8_line(name: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(name) {
        Ok(text) if text.contains('\n') => Err("its name holds a line feed".into()),
        Ok(text) => Ok(text),
        Err(_) => Err("its name is not UTF-8".into()),
    }
}

/// Whether a part of a path is that of a hidden file or folder (`._x` and `.DS_Store` of a Mac among them).
pub(super) fn is_hidden(part: &[u8]) -> bool {
    part.starts_with(b".") || part == MAC_SIDE_FOLDER.as_bytes()
}

/// Whether the name is that of an archive.
pub(super) fn is_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

/// `name` for a message.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Names that were met. Of each it keeps 16 bytes of its BLAKE3: a set of a million files costs some 40 MB.
#[derive(Default)]
pub(super) struct Seen(HashSet<[u8; 16]>);

impl Seen {
    /// Adds `name`; false where it was there.
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        let hash = blake3::hash(name);
        let (half, _) = hash.as_bytes().split_at(16);
        half.try_into().is_ok_and(|half| self.0.insert(half))
    }
}
