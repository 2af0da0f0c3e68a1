//! The files of a folder and its subfolders.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::names;
use crate::error::{Error, Result};
use crate::output::is_unfinished;

/// Maximum folder depth. It stops the search when links form a cycle.
const MAX_DEPTH: usize = 16;

/// A file below the input folder.
pub(super) struct FolderFile {
    /// Path below the folder as text.
    pub path: String,
    /// Where it is.
    pub place: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Why it cannot be read, if this is known already: a broken link or a special file.
    pub unreadable: Option<String>,
}

/// Every file below `root`, sorted by path. Links are followed. Hidden files are skipped, and so is an
/// unfinished pack that a killed process left in the folder.
pub(super) fn files(root: &Path) -> Result<Vec<FolderFile>> {
    let mut files = Vec::new();
    list(root, Path::new(""), MAX_DEPTH, &mut files)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Adds the files of the folder `below`, a path relative to `root`, to `files`.
fn list(root: &Path, below: &Path, depth: usize, files: &mut Vec<FolderFile>) -> Result<()> {
    let folder = root.join(below);
    if depth == 0 {
        let reason = format!("more than {MAX_DEPTH} folders deep; do links form a cycle?");
        return Err(Error::format(folder, reason));
    }
    for name in names_in(&folder)? {
        if names::is_hidden(name.as_bytes()) {
            continue;
        }
        let below = below.join(&name);
        let place = root.join(&below);
        let (size, unreadable) = match fs::metadata(&place) {
            Ok(metadata) if metadata.is_dir() && is_unfinished(&place) => continue,
            Ok(metadata) if metadata.is_dir() => {
                list(root, &below, depth - 1, files)?;
                continue;
            }
            Ok(metadata) if metadata.is_file() => (metadata.len(), None),
            Ok(_) => (0, Some("a special file, expected plain files and folders".to_owned())),
            Err(error) => match fs::read_link(&place) {
                Ok(target) => (0, Some(format!("a broken link to {}: {error}", target.display()))),
                Err(_) => return Err(Error::io(place)(error)),
            },
        };
        files.push(FolderFile { path: names::line(below.as_os_str().as_bytes()), place, size, unreadable });
    }
    Ok(())
}

/// The names in `folder`, sorted, so that the same error is always reported first.
fn names_in(folder: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        names.push(entry.map_err(Error::io(folder))?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// A file that is opened on the first read, because visitors skip most files.
pub(super) struct LazyFile {
    path: PathBuf,
    file: Option<File>,
}

impl LazyFile {
    /// The file at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Read for LazyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(File::open(&self.path)?),
        };
        file.read(buffer)
    }
}
