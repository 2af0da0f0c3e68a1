//! Folders and archives (`.tar`, `.tar.gz`, `.zip`, also nested) as one tree of files. Archives are read
//! without unpacking them to disk.
//!
//! The content is not trusted. Declared sizes never decide how much memory is allocated. Archives may be
//! nested at most three deep. Members are refused if their names or types could lead outside the tree.

mod folder;
mod input_format;
mod names;
mod place;
mod stream;
mod tar_stream;
mod walk;
mod zip_file;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use self::input_format::InputFormat;
use self::place::Place;
use self::stream::{Hashing, drain};
use self::walk::{BUFFER, Walk};
use crate::error::{Error, Result};

pub(crate) use self::names::ARCHIVE_ENDINGS;
pub use self::place::{Visit, Visitor};

/// Maximum size of an image file in bytes.
pub const IMAGE_BYTES: u64 = 64 << 20;
/// Maximum size in bytes of all lists of a tree together. They are held in memory. CIFAR-10's batches, which
/// hold labels and pixels, have 186 MB.
pub const LIST_BYTES: u64 = 512 << 20;
/// Maximum number of bytes to allocate before any part of a member has been read.
const FIRST_BYTES: u64 = 1 << 20;

/// Files as path and size in bytes.
pub type Members = Vec<(String, u64)>;
/// Contents of files by path.
pub type Lists = BTreeMap<String, Vec<u8>>;

/// A folder or an archive.
#[derive(Clone, Debug)]
pub struct Tree {
    input: PathBuf,
    format: InputFormat,
}

impl Tree {
    /// Opens the folder, `.tar`, `.tar.gz` or `.zip` at `input`. The format is detected from the content, not
    /// from the name.
    ///
    /// # Errors
    /// [`Error::Io`] if `input` cannot be read, [`Error::Format`] if it is something else.
    pub fn open(input: &Path) -> Result<Tree> {
        let metadata = fs::metadata(input).map_err(Error::io(input))?;
        let format = match (metadata.is_dir(), metadata.is_file()) {
            (true, _) => Some(InputFormat::Folder),
            (false, true) => InputFormat::read(input).map_err(Error::io(input))?,
            (false, false) => None,
        };
        match format {
            Some(format) => Ok(Tree { input: input.to_owned(), format }),
            None => {
                let reason = "expected a folder, a .tar, a .tar.gz or a .zip, found something else";
                let hint = "hint: unpack an archive of another kind and give the folder";
                Err(Error::format(input, format!("{reason}\n{hint}")))
            }
        }
    }

    /// The folder or archive, for error messages.
    pub fn input(&self) -> &Path {
        &self.input
    }

    /// Calls `visit(path, bytes, reader)` for every file. The order is always the same: by path in folders,
    /// by position in archives. Skipping a file without reading it is cheap.
    ///
    /// An archive inside the tree (`.tar`, `.tar.gz`, `.tgz`, `.zip` by its name) is treated as a folder, as
    /// in `n01440764.tar/n01440764_18.JPEG`. Hidden files and `__MACOSX` are skipped. Links are followed in
    /// folders and refused in archives.
    ///
    /// Returns the BLAKE3 hash of the input if it is an archive and was read to its end.
    ///
    /// # Errors
    /// The errors of `visit`; [`Error::Io`] if something cannot be read; [`Error::Format`] and, inside the
    /// tree, [`Error::Member`] for an archive that is truncated, damaged, nested too deep or too large, and
    /// for members that are not allowed: absolute paths, `..`, links, special files, duplicate names, names
    /// that are not UTF-8.
    pub fn visit(&self, visit: &mut Visitor<'_>) -> Result<Option<blake3::Hash>> {
        let mut walk = Walk::new(visit);
        let root = |depth| Place { input: &self.input, path: String::new(), depth };
        match self.format {
            InputFormat::Folder => walk.folder(&root(0)).map(|_| None),
            InputFormat::Zip => self.visit_zip(&mut walk, &root(1)),
            InputFormat::Tar | InputFormat::Gzip => self.visit_stream(&mut walk, &root(1)),
        }
    }

    /// Path and size of all files, sorted by path, and the contents of those for which `is_list` is true.
    ///
    /// # Errors
    /// The errors of [`Tree::visit`]; [`Error::Member`] if the lists have more than [`LIST_BYTES`].
    pub fn list(&self, is_list: fn(&str) -> bool) -> Result<(Members, Lists)> {
        let mut members = Members::new();
        let mut lists = Lists::new();
        let mut left = LIST_BYTES;
        self.visit(&mut |path, size, reader| {
            if is_list(path) {
                let bytes = self.read_member(path, size, reader, left)?;
                left -= bytes.len() as u64;
                lists.insert(path.to_owned(), bytes);
            }
            members.push((path.to_owned(), size));
            Ok(Visit::Continue)
        })?;
        members.sort_unstable();
        Ok((members, lists))
    }

    /// Reads a visited file: exactly `size` bytes, and at most `limit`.
    ///
    /// # Errors
    /// [`Error::Member`] if it has more or fewer bytes, or cannot be read.
    pub fn read_member(&self, path: &str, size: u64, reader: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
        let refuse = |reason: String| Err(Error::member(&self.input, path, reason));
        if size > limit {
            return refuse(format!("{size} bytes, expected at most {limit}"));
        }
        let mut bytes = Vec::with_capacity(size.min(FIRST_BYTES) as usize);
        match reader.take(size.saturating_add(1)).read_to_end(&mut bytes) {
            Err(error) => refuse(format!("truncated or damaged: {error}")),
            Ok(read) if read as u64 > size => refuse(format!("{size} bytes declared, more found")),
            Ok(read) if (read as u64) < size => {
                refuse(format!("{size} bytes declared, {read} found: it is truncated"))
            }
            Ok(_) => Ok(bytes),
        }
    }

    /// Visits a tar or a gzipped tar and hashes it in the same pass.
    fn visit_stream(&self, walk: &mut Walk, place: &Place) -> Result<Option<blake3::Hash>> {
        let file = File::open(&self.input).map_err(Error::io(&self.input))?;
        let mut from = BufReader::with_capacity(BUFFER, Hashing::new(file));
        if let Visit::Stop = walk.archive(place, &mut from)? {
            return Ok(None);
        }
        drain(&mut from).map_err(Error::io(&self.input))?;
        Ok(Some(from.into_inner().hash()))
    }

    /// Visits a zip. The hash needs a second pass, because members are not read in file order.
    fn visit_zip(&self, walk: &mut Walk, place: &Place) -> Result<Option<blake3::Hash>> {
        let mut file = File::open(&self.input).map_err(Error::io(&self.input))?;
        if let Visit::Stop = walk.zip(place, BufReader::new(&file))? {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        file.rewind()
            .and_then(|()| hasher.update_reader(file).map(|_| ()))
            .map_err(Error::io(&self.input))?;
        Ok(Some(hasher.finalize()))
    }
}
