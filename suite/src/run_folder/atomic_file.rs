//! Files and folders that are either complete or absent: written under another name, synced to disk and
//! renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use eqr_datasets::output::write_file;

/// Writes a file of a run's folder, and creates the folder that it lies in if needed.
///
/// # Errors
/// A file system error, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().expect("a file has a folder");
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    write_file(path, bytes).with_context(cannot)
}

/// Writes a folder that replaces the one at `path`. `fill` fills a temporary folder next to it, with files
/// written by [`write_synced`].
///
/// # Errors
/// Errors of `fill` and of the file system.
pub(crate) fn write_folder_atomic(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let written = (|| -> Result<()> {
        remove_folder(&temporary)?;
        fs::create_dir_all(&temporary)?;
        fill(&temporary)?;
        File::open(&temporary)?.sync_all()?;
        remove_folder(path)?;
        fs::rename(&temporary, path)?;
        Ok(File::open(path.parent().expect("a folder lies in another"))?.sync_all()?)
    })();
    if written.is_err() {
        // an incomplete folder would only waste disk space
        let _ = remove_folder(&temporary);
    }
    written
}

/// Writes a file and syncs it to disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a folder, if it exists.
pub(crate) fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a file, if it exists.
///
/// # Errors
/// A file system error, with the path.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
