//! The files of a folder and its subfolders.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::names;
use crate::error::{Error, Result};

/// Maximum folder depth. It stops the search when links form a cycle.
const MAX_DEPTH: usize = 16;

/// Relative path and size of every regular file below `root`, sorted by path. Links are followed. Hidden
/// files are skipped.
pub(super) fn files(root: &Path) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    list(root, Path::new(""), MAX_DEPTH, &mut files)?;
    files.sort_unstable();
    Ok(files)
}

/// Adds the files of the folder `below`, a path relative to `root`, to `files`.
fn list(root: &Path, below: &Path, depth: usize, files: &mut Vec<(String, u64)>) -> Result<()> {
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
        let path = root.join(&below);
        let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
        let refuse = |reason| Error::member(root, &below, reason);
        if metadata.is_dir() {
            list(root, &below, depth - 1, files)?;
        } else if !metadata.is_file() {
            return Err(refuse("a special file, expected plain files and folders".to_owned()));
        } else {
            let name = names::utf8_line(below.as_os_str().as_bytes()).map_err(refuse)?;
            files.push((name.to_owned(), metadata.len()));
        }
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
