//! Files that are whole or not there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes to a temporary name in the same folder (made where absent), syncs, renames.
///
/// # Errors
/// The file system's, with the path.
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

/// A file that is not there yet: as readable as any other new file, where tempfile's default would shut out the group.
///
/// # Errors
/// The file system's.
pub fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}
