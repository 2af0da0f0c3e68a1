//! Writing files whole or not at all.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Lets `write` fill a temporary file beside `path`, syncs it and renames it to `path`. On an error the
/// temporary file is removed and the old content of `path` stays.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_atomically_in(parent_folder(path), path, write)
}

/// [`write_atomically`] with the temporary file in `folder`, which must be on the same file system. The owner
/// of that folder can then remove what a killed process leaves behind.
pub(crate) fn write_atomically_in(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let temporary = tempfile::Builder::new()
        .prefix(".eqr-")
        .suffix(".part")
        // the umask decides, as for any new file; tempfile's default would shut out the group
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::io(folder))?;
    write(temporary.path())?;
    temporary.as_file().sync_all().map_err(Error::io(path))?;
    temporary.persist(path).map_err(|error| Error::io(path)(error.error))?;
    // the new name, too, must survive a power cut
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
