//! Writing files atomically: either the whole file is written or nothing changes.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Calls `write` with a temporary file beside `path`, syncs that file and renames it to `path`. On an error
/// the temporary file is removed and `path` keeps its old content.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_atomically_in(parent_folder(path), path, write)
}

/// Like [`write_atomically`], but with the temporary file in `folder`, which must be on the same file system.
/// The owner of that folder can then remove the leftovers of a killed process.
pub(crate) fn write_atomically_in(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let temporary = tempfile::Builder::new()
        .prefix(".eqr-")
        .suffix(".part")
        // let the umask decide, as for any new file; tempfile's default would lock out the group
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::io(folder))?;
    write(temporary.path())?;
    temporary.as_file().sync_all().map_err(Error::io(path))?;
    temporary.persist(path).map_err(|error| Error::io(path)(error.error))?;
    // sync the folder, so that the new name also survives a power failure
    let folder = parent_folder(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

/// The folder that contains `path`.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
