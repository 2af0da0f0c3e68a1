//! The image files of a folder or an archive, one after the other, in batches of bounded size.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::archive;
use crate::error::{Error, Result};

/// Largest image file.
pub(super) const MEMBER_BYTES: u64 = 64 << 20;
/// Files after which a batch is handed over.
const BATCH_FILES: usize = 512;
/// Bytes after which a batch is handed over.
const BATCH_BYTES: usize = 16 << 20;
/// Folders below the input after which a walk ends: links may lead in circles.
const DEPTH: usize = 16;

/// An image file, not decoded.
pub(super) struct Member {
    /// Path below the input or inside the archive, its parts joined by `/`.
    pub path: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Hands every image file of `input` to `to` and gives the BLAKE3 of the archive (of a folder: nothing).
///
/// # Errors
/// [`Error::Io`] for what cannot be read, [`Error::Format`] for what is no archive, [`Error::Member`] for a member that
/// must not be.
pub(super) fn read(input: &Path, to: SyncSender<Vec<Member>>) -> Result<Option<blake3::Hash>> {
    let mut batches = Batches { to, pending: Vec::new(), bytes: 0 };
    let metadata = fs::metadata(input).map_err(Error::io(input))?;
    let hash = if metadata.is_dir() {
        read_folder(input, &mut batches)?;
        None
    } else {
        Some(archive::read(input, &mut batches)?)
    };
    batches.hand_over();
    Ok(hash)
}

/// Collects members and hands them over in batches.
pub(super) struct Batches {
    to: SyncSender<Vec<Member>>,
    pending: Vec<Member>,
    bytes: usize,
}

impl Batches {
    /// Takes a member; false where nobody wants more.
    pub(super) fn push(&mut self, member: Member) -> bool {
        self.bytes += member.bytes.len();
        self.pending.push(member);
        if self.pending.len() < BATCH_FILES && self.bytes < BATCH_BYTES {
            return true;
        }
        self.hand_over()
    }

    /// Hands over what is pending; false where nobody wants more.
    fn hand_over(&mut self) -> bool {
        self.bytes = 0;
        self.to.send(std::mem::take(&mut self.pending)).is_ok()
    }
}

/// The image files below `root`, sorted by path.
fn read_folder(root: &Path, batches: &mut Batches) -> Result<()> {
    let mut files = Vec::new();
    list(root, DEPTH, &mut files)?;
    for file in files {
        let below = file.strip_prefix(root).unwrap_or(&file);
        let path = plain_path(below).map_err(|reason| member_error(root, below, reason))?;
        let bytes = fs::metadata(&file).map_err(Error::io(&file))?.len();
        if bytes > MEMBER_BYTES {
            return Err(member_error(root, below, too_large(bytes)));
        }
        let bytes = fs::read(&file).map_err(Error::io(&file))?;
        if !batches.push(Member { path, bytes }) {
            break;
        }
    }
    Ok(())
}

/// Adds the image files below `folder`, sorted by path.
fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth == 0 {
        return Err(Error::format(folder, format!("more than {DEPTH} folders deep; does a link lead in a circle?")));
    }
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Error::io(folder))?.path());
    }
    paths.sort();
    for path in paths {
        if is_hidden(&path) {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
        if metadata.is_dir() {
            list(&path, depth - 1, files)?;
        } else if metadata.is_file() && is_image(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether the name says JPEG or PNG. Lists and notes that lie beside the images are passed over.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    !is_hidden(path) && matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
}

/// Whether the name starts with a dot, as those of a Mac's side files do.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// `path` with its parts joined by `/`, or why it must not be.
pub(super) fn plain_path(path: &Path) -> std::result::Result<String, String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or("its name is not UTF-8")?),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path holds `..`".into()),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute".into()),
        }
    }
    Ok(parts.join("/"))
}

/// About a file above [`MEMBER_BYTES`].
pub(super) fn too_large(bytes: u64) -> String {
    format!("{bytes} bytes, expected at most {MEMBER_BYTES}")
}

/// An [`Error::Member`] of `container`.
pub(super) fn member_error(container: &Path, member: impl AsRef<Path>, reason: impl Into<String>) -> Error {
    Error::member(container, member, reason)
}
