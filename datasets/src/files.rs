//! Writing files whole or not at all.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Lets `write` fill a file of a temporary name beside `path`, makes it durable and gives it the name `path`. Where
/// anything fails the temporary file is removed and what stood at `path` stays.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_by_way_of(folder_of(path), path, write)
}

/// [`write_atomically`] with the temporary file in `folder`, of the same file system: whoever owns that folder can remove what a killed
/// process left.
pub(crate) fn write_by_way_of(folder: &Path, path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = tempfile::Builder::new()
        .prefix(".eqr-")
        .suffix(".part")
        // as any other new file: what the umask leaves, where tempfile's default would shut out the group
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::io(folder))?;
    write(temporary.path())?;
    temporary.as_file().sync_all().map_err(Error::io(path))?;
    temporary.persist(path).map_err(|error| Error::io(path)(error.error))?;
    // the name, too, must survive a power cut
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

/// The folder that `path` lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
