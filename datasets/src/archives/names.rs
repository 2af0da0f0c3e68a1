//! Names of members: which are used, skipped or refused.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Endings of the archives that are read as folders, the longer ones first.
pub(crate) const ARCHIVE_ENDINGS: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];
/// The folder of side files in zips from a Mac. They have the names of the real files.
const MAC_SIDE_FOLDER: &str = "__MACOSX";

/// `name` with its components joined by `/`; `None` for the root (`./`) and for hidden files.
///
/// # Errors
/// Why the name is not allowed.
pub(super) fn normalized(name: &[u8]) -> Result<Option<String>, String> {
    let mut components = Vec::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => components.push(part.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path holds `..`".into()),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute".into()),
        }
    }
    if components.is_empty() || components.iter().any(|component| is_hidden(component)) {
        return Ok(None);
    }
    utf8_line(&components.join(&b'/')).map(|name| Some(name.to_owned()))
}

/// `name` as text without a line feed, because lists and packs end a name with one.
pub(super) fn utf8_line(name: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(name) {
        Ok(text) if text.contains('\n') => Err("its name holds a line feed".into()),
        Ok(text) => Ok(text),
        Err(_) => Err("its name is not UTF-8".into()),
    }
}

/// Whether a component of a path is hidden. This includes `._x` and `.DS_Store` of a Mac.
pub(super) fn is_hidden(component: &[u8]) -> bool {
    component.starts_with(b".") || component == MAC_SIDE_FOLDER.as_bytes()
}

/// Whether the name has the ending of an archive.
pub(super) fn is_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ARCHIVE_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// `name` for a message.
pub(super) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The names so far. It keeps 16 bytes of the BLAKE3 of each: about 40 MB for a million files.
#[derive(Default)]
pub(super) struct SeenNames(HashSet<[u8; 16]>);

impl SeenNames {
    /// Adds `name`. Returns false if it was there already.
    pub(super) fn insert(&mut self, name: &[u8]) -> bool {
        let hash = blake3::hash(name);
        let (half, _) = hash.as_bytes().split_at(16);
        half.try_into().is_ok_and(|half| self.0.insert(half))
    }
}
