//! Files and folders that are either complete or absent: written under another name, synced to disk and
//! renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file, and creates its folder if needed.
///
/// # Errors
/// A file system error, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().expect("a file has a folder");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = temporary(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A new file in `folder`, with the permissions of any new file: tempfile's default would shut out the group.
///
/// # Errors
/// A file system error.
pub fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
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
