//! Writing files atomically: either the whole file is written or nothing changes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::place::follow_links;
use crate::error::{Error, Result};

/// Writes `bytes` to a file: to a temporary one beside it, which is synced and renamed. Links are followed.
///
/// # Errors
/// [`Error::Io`]; the file keeps its old content then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |temporary| fs::write(temporary, bytes).map_err(Error::io(path)))
}

/// Calls `write` with a temporary file beside the end of `path`'s links, syncs that file and renames it to
/// its final name. On an error the temporary file is removed and `path` keeps its old content.
///
/// # Errors
/// The errors of `write`; [`Error::Io`].
pub fn write_atomically<E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let target = follow_links(path).map_err(Error::io(path))?;
    write_atomically_in(parent_folder(&target), &target, write)
}

/// Like [`write_atomically`], but with the temporary file in `folder`, which must be on the same file system,
/// and without following links. The owner of that folder can then remove the leftovers of a killed process.
pub(crate) fn write_atomically_in<E: From<Error>>(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    // a replaced file keeps its permissions; a new one gets what the umask leaves, because tempfile's default
    // would lock out the group
    let replaced = fs::metadata(path).ok().filter(|found| found.is_file());
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY.0)
        .suffix(TEMPORARY.1)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::io(folder))?;
    write(temporary.path())?;
    if let Some(replaced) = replaced {
        temporary.as_file().set_permissions(replaced.permissions()).map_err(Error::io(path))?;
    }
    temporary.as_file().sync_all().map_err(Error::io(path))?;
    temporary.persist(path).map_err(|error| Error::io(path)(error.error))?;
    // sync the folder, so that the new name also survives a power failure
    let folder = parent_folder(path);
    Ok(File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?)
}

/// How the names of temporary files begin and end.
const TEMPORARY: (&str, &str) = (".eqr-", ".part");

/// The name of a temporary file, which [`is_temporary`] recognises.
pub fn temporary_name(which: &str) -> String {
    format!("{}{which}{}", TEMPORARY.0, TEMPORARY.1)
}

/// Whether `name` is that of a temporary file, which a killed process may have left behind.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

/// The folder that contains `path`.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
