//! The one writer of the program's outputs. [`Output`] is a file that the user named: it is checked before
//! the work begins, and what stands there is replaced only by its like. [`write_file`] writes a file of the
//! program's own folders. Both follow links, and replace a file only by a complete one.

mod atomic;
mod output_kind;
mod place;
mod stale;
mod unfinished;

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::error::{Error, Result};
pub use atomic::{is_temporary, temporary_name, write_atomically, write_file};
pub(crate) use atomic::{parent_folder, write_atomically_in};
pub use output_kind::OutputKind;
pub(crate) use place::follow_links;
use place::{Place, Stream};
use stale::remove_stale;
pub(crate) use unfinished::{JOURNAL, is_journal, is_unfinished, unfinished_folder};

/// Number of bytes of a file from which its kind is seen.
const START: u64 = 4096;

/// A checked place for an output.
#[derive(Debug)]
pub struct Output {
    /// As the user named it.
    named: PathBuf,
    place: Place,
}

impl Output {
    /// Checks that a file of `kind` can be written to `path`, and that nothing else is lost by it. `inputs`
    /// are the files and folders that the command reads. With `force`, a file of another kind and a
    /// write-protected one are replaced too, but never an input.
    ///
    /// # Errors
    /// [`Error::Format`] with the reason and what to do.
    pub fn new(path: &Path, kind: &OutputKind, inputs: &[&Path], force: bool) -> Result<Output> {
        let place = Place::find(path).map_err(Error::io(path))?;
        let checked = match &place {
            Place::Stream(stream) => check_stream(stream, force),
            Place::File(file) => check_file(path, file, kind, inputs, force),
        };
        checked.map_err(|reason| Error::format(path, reason))?;
        Ok(Output { named: path.to_owned(), place })
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        match &self.place {
            Place::File(file) => write_file(file, bytes),
            Place::Stream(stream) => stream.send(&mut &*bytes).map_err(Error::io(&self.named)),
        }
    }

    /// Calls `write` with the path of a file, which it must write atomically. What goes to a device or a pipe
    /// is written to a temporary file first.
    ///
    /// # Errors
    /// The errors of `write`; [`Error::Io`] of a device or a pipe.
    pub fn write_with<T, E: From<Error>>(
        &self,
        write: impl FnOnce(&Path) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let stream = match &self.place {
            Place::File(file) => return write(file),
            Place::Stream(stream) => stream,
        };
        let temporary = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
        let file = temporary.path().join("output");
        let written = write(&file)?;
        File::open(&file).and_then(|mut file| stream.send(&mut file)).map_err(Error::io(&self.named))?;
        Ok(written)
    }
}

type Checked = std::result::Result<(), String>;

/// Pipes and character devices are written as they are; a block device is somebody's disk.
fn check_stream(stream: &Stream, force: bool) -> Checked {
    let Stream::Path { path, is_disk } = stream else { return Ok(()) };
    if *is_disk && !force {
        return Err("a block device, whose content would be lost\nhint: --force writes to it".to_owned());
    }
    access(path, Access::WRITE_OK).map_err(|error| format!("cannot be written: {}", io::Error::from(error)))
}

/// `named` is the path as the user gave it, `file` the one where its links end.
fn check_file(named: &Path, file: &Path, kind: &OutputKind, inputs: &[&Path], force: bool) -> Checked {
    let found = match fs::metadata(file) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_new(named, file),
        Err(error) => return Err(error.to_string()),
    };
    if found.is_dir() {
        return Err(format!("a folder, expected the name of a file for {}", kind.name));
    }
    if !found.is_file() {
        return Err("neither a file nor a pipe nor a device: nothing can be written there".to_owned());
    }
    if inputs.iter().any(|input| is_same_file(&found, input)) {
        return Err("this is the input, or another name of it: what is read would be lost\n\
                    hint: give the output another name"
            .to_owned());
    }
    if !is_of_kind(file, &found, kind)? {
        check_other_kind(file, kind, inputs, force)?;
    }
    let protected = found.permissions().readonly() || access(file, Access::WRITE_OK).is_err();
    if protected && !force {
        return Err("an existing file that is write-protected\n\
                    hint: give the output another name, or --force to replace the file"
            .to_owned());
    }
    check_folder(file)
}

/// A file that holds something else is replaced only by `force`, and not if it belongs to the input.
fn check_other_kind(file: &Path, kind: &OutputKind, inputs: &[&Path], force: bool) -> Checked {
    let what = format!("an existing file that is not {}", kind.name);
    if let Some(input) = inputs.iter().find(|input| lies_in(file, input)) {
        return Err(format!(
            "{what}, in the folder {} that is read: it would be lost\nhint: give the output another name",
            input.display()
        ));
    }
    if !force {
        let hint = "hint: give the output another name, or --force to replace the file";
        return Err(format!("{what}: it would be lost\n{hint}"));
    }
    Ok(())
}

fn check_new(named: &Path, file: &Path) -> Checked {
    let names_a_folder = named.as_os_str().as_encoded_bytes().ends_with(b"/");
    if names_a_folder || file.file_name().is_none() {
        return Err("expected the name of a file, found that of a folder".to_owned());
    }
    check_folder(file)
}

/// Checks that a temporary file can be made beside `file`, and removes those that killed processes left
/// there.
fn check_folder(file: &Path) -> Checked {
    let folder = parent_folder(file);
    let cannot = |error: io::Error| {
        let hint = if folder.exists() { "" } else { "\nhint: make the folder first, or correct its name" };
        format!("cannot write to {}: {error}{hint}", folder.display())
    };
    tempfile::tempfile_in(folder).map(drop).map_err(cannot)?;
    remove_stale(folder);
    Ok(())
}

fn is_same_file(found: &Metadata, input: &Path) -> bool {
    fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (found.dev(), found.ino()))
}

fn lies_in(file: &Path, folder: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    folder.is_dir() && whole(file).zip(whole(folder)).is_some_and(|(file, folder)| file.starts_with(folder))
}

/// Whether the file is of `kind`, or empty. A file that cannot be read is of no kind.
fn is_of_kind(file: &Path, found: &Metadata, kind: &OutputKind) -> std::result::Result<bool, String> {
    let mut start = Vec::new();
    match File::open(file).and_then(|file| file.take(START).read_to_end(&mut start)) {
        Ok(_) => Ok(found.len() == 0 || (kind.begins)(&start)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
