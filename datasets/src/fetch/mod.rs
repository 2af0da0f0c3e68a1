//! Downloading the files of published sets. What has come of a file is kept in `FILE.part` until all is
//! there, so a download that was stopped goes on. A file gets its name only if it is the published one.

mod attempt;
mod checksum;
mod client;
#[cfg(test)]
mod loopback;
mod mirror;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub use self::client::Client;
pub use self::watch::{Step, Watch};
use crate::error::{Error, Result};
use crate::file_kind::FileKind;
use crate::sources::Download;

/// How the name of an unfinished download ends.
const UNFINISHED: &str = ".part";
/// How the name of a file ends that has come in place of the published one.
const WRONG: &str = ".wrong";

/// Makes sure that the published `file` is in `folder`, and returns its path. A file that is there already is
/// only checked.
///
/// # Errors
/// [`Error::Fetch`] if its server cannot be reached or has another file; [`Error::Io`] if it cannot be
/// written; [`Error::Format`] if another file has its name, or another process is downloading it.
pub fn fetch(file: &Download, folder: &Path, client: &Client, watch: &dyn Watch) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(file.file_name());
    if path.exists() {
        return match difference(file, &path, watch)? {
            None => {
                watch.say(&format!("{}: there already{}", path.display(), how_checked(file)));
                Ok(path)
            }
            Some(reason) => {
                let hint = "hint: move it away; the same command then downloads the published one";
                let reason = format!("an existing file, which is not the published one: {reason}\n{hint}");
                Err(Error::format(&path, reason))
            }
        };
    }
    let unfinished = with_ending(&path, UNFINISHED);
    let part = open_locked(&unfinished)?;
    client.download(file, &part, &unfinished, watch)?;
    part.sync_all().map_err(Error::io(&unfinished))?;
    if let Some(reason) = difference(file, &unfinished, watch)? {
        let wrong = with_ending(&path, WRONG);
        fs::rename(&unfinished, &wrong).map_err(Error::io(&unfinished))?;
        let reason = format!(
            "its server sent another file than the published one: {reason}\n\
             hint: it is kept as {}; the same command downloads it anew",
            wrong.display()
        );
        return Err(Error::Fetch { url: client.address(file), reason });
    }
    fs::rename(&unfinished, &path).map_err(Error::io(&path))?;
    watch.say(&format!("{}: downloaded{}", path.display(), how_checked(file)));
    Ok(path)
}

/// What was compared to know that the file is the published one.
fn how_checked(file: &Download) -> &'static str {
    match (file.sha256, file.size.exact()) {
        (Some(_), _) => ", with the published checksum",
        (None, Some(_)) => ", with the published length; no checksum is published",
        (None, None) => "; no checksum is published, so it is taken as it is",
    }
}

/// How the file at `path` differs from the published one; `None` if it is the published one, as far as that
/// can be known.
fn difference(file: &Download, path: &Path, watch: &dyn Watch) -> Result<Option<String>> {
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    let kind = FileKind::of_file(path).map_err(Error::io(path))?;
    if let Some(expected) = file.size.exact()
        && length != expected
    {
        return Ok(Some(format!("expected {expected} bytes, found {length}: {kind}")));
    }
    let Some(expected) = file.sha256 else {
        return Ok(kind.is_stand_in().then(|| format!("found {kind} of {length} bytes")));
    };
    let at = |done: u64| watch.at(Step::Checking, done, Some(length));
    let found = checksum::sha256(path, &at).map_err(Error::io(path))?;
    Ok((found != expected).then(|| format!("expected SHA-256 {expected}, found {found}: {kind}")))
}

/// Opens the file of an unfinished download, and keeps other processes from it.
fn open_locked(path: &Path) -> Result<File> {
    let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = options.map_err(Error::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::format(path, "another process is downloading this file\nhint: wait for it"))
        }
        // the file system does not support locks, so other processes cannot be detected
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(Error::io(path)(error)),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
