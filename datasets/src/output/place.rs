//! Where the bytes of an output go: a file, whose links are followed, or a pipe or device.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::atomic::parent_folder;

/// Links that are followed before they are taken for a circle, as the kernel does.
const MOST_LINKS: usize = 40;

/// Where an output goes.
#[derive(Debug)]
pub(super) enum Place {
    /// A file to be replaced or made, at the end of all links.
    File(PathBuf),
    /// What is written as it is.
    Stream(Stream),
}

/// Something that is not replaced.
#[derive(Debug)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    /// A pipe, a device, or a file that another process holds open.
    Path {
        path: PathBuf,
        is_disk: bool,
    },
}

impl Place {
    /// Follows the links of `path`.
    ///
    /// # Errors
    /// Links in a circle.
    pub fn find(path: &Path) -> io::Result<Place> {
        let path = follow_links(path)?;
        if let Some(folder) = open_files(&path) {
            let own = folder == Path::new("/proc").join(std::process::id().to_string()).join("fd");
            return Ok(Place::Stream(match path.file_name().and_then(OsStr::to_str) {
                Some("1") if own => Stream::Stdout,
                Some("2") if own => Stream::Stderr,
                _ => Stream::Path { path, is_disk: false },
            }));
        }
        let Ok(kind) = fs::metadata(&path).map(|found| found.file_type()) else {
            return Ok(Place::File(path));
        };
        let is_disk = kind.is_block_device();
        let is_stream = is_disk || kind.is_char_device() || kind.is_fifo();
        Ok(if is_stream { Place::Stream(Stream::Path { path, is_disk }) } else { Place::File(path) })
    }
}

impl Stream {
    /// Writes everything that `from` yields.
    pub fn send(&self, from: &mut dyn Read) -> io::Result<()> {
        let copy = |to: &mut dyn Write, from: &mut dyn Read| io::copy(from, to).and_then(|_| to.flush());
        match self {
            Stream::Stdout => copy(&mut io::stdout(), from),
            Stream::Stderr => copy(&mut io::stderr(), from),
            Stream::Path { path, is_disk: true } => copy(&mut File::options().write(true).open(path)?, from),
            Stream::Path { path, .. } => copy(&mut File::options().append(true).open(path)?, from),
        }
    }
}

/// The path at the end of all links; it need not exist. A path without links stays as it is.
pub(crate) fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        if open_files(&path).is_some() {
            return Ok(path);
        }
        path = parent_folder(&path).join(target);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its links lead in a circle"))
}

/// The folder of a process's open files, if `path` is in it: `/dev/stdout` leads there. The links in it are
/// the kernel's, and lead to the open file itself and not to its name.
fn open_files(path: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(parent_folder(path)).ok()?;
    (folder.starts_with("/proc") && folder.ends_with("fd")).then_some(folder)
}
