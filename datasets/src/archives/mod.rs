//! Folders and archives (`.tar`, `.tar.gz`, `.zip`, also nested) as one tree of files. Archives are read
//! without unpacking them to disk.
//!
//! The content is not trusted. Declared sizes never decide how much memory is allocated. Archives may be
//! nested at most three deep. Members are refused if their names or types could lead outside the tree.

mod copies;
mod folder;
mod input_format;
mod names;
mod place;
mod stream;
mod tar_stream;
mod walk;
mod zip_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use self::input_format::{EMPTY_TAR_BYTES, InputFormat};
use self::place::Place;
use self::stream::{Hashing, drain};
use self::walk::{BUFFER, OTHER_ARCHIVE, Walk};
use crate::error::{Error, Result};
use crate::file_kind::{FileKind, HEAD};

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
/// Kinds of files by path.
pub type Kinds = BTreeMap<String, FileKind>;

/// What is read of a tree before its images.
#[derive(Clone, Copy)]
pub struct Selection {
    /// Whether the file at this path is a list, which is read whole.
    pub is_list: fn(&str) -> bool,
    /// Whether the kind of the file at this path is told by its content.
    pub is_sniffed: fn(&str) -> bool,
}

/// The files of a tree.
#[derive(Default)]
pub struct Listed {
    /// Path and size of all files, sorted by path.
    pub members: Members,
    /// The contents of the lists.
    pub lists: Lists,
    /// The kinds of the files that were selected for it.
    pub kinds: Kinds,
    /// What the user should know about the archives that were read.
    pub remarks: Vec<String>,
}

/// A folder or an archive.
#[derive(Clone, Debug)]
pub struct Tree {
    input: PathBuf,
    format: InputFormat,
    /// Archives in a folder whose files lie unpacked beside them.
    copies: BTreeSet<String>,
}

impl Tree {
    /// Opens the folder, `.tar`, `.tar.gz` or `.zip` at `input`. The format is detected from the content, not
    /// from the name.
    ///
    /// # Errors
    /// [`Error::Io`] if `input` cannot be read, [`Error::Format`] if it is something else.
    pub fn open(input: &Path) -> Result<Tree> {
        let metadata = fs::metadata(input).map_err(Error::io(input))?;
        let (format, kind) = match metadata.is_dir() {
            true => (Some(InputFormat::Folder), FileKind::Unknown),
            false if metadata.is_file() => {
                let kind = FileKind::of_file(input).map_err(Error::io(input))?;
                // a tar without members has 10 KB at most
                let is_empty_tar = kind != FileKind::Zeros || metadata.len() <= EMPTY_TAR_BYTES;
                (InputFormat::of(kind).filter(|_| is_empty_tar), kind)
            }
            false => (None, FileKind::Unknown),
        };
        match format {
            Some(format) => Ok(Tree { input: input.to_owned(), format, copies: BTreeSet::new() }),
            None => {
                let reason = kind.instead_of("a folder, a .tar, a .tar.gz or a .zip", OTHER_ARCHIVE);
                Err(Error::format(input, reason))
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
    /// folders. Broken links, links in archives and special files cannot be read: their reader gives the
    /// reason. In names, bytes that are not UTF-8 are written as `\xE9`.
    ///
    /// Returns the BLAKE3 hash of the input if it is an archive and was read to its end.
    ///
    /// # Errors
    /// The errors of `visit`; [`Error::Io`] if something cannot be read; [`Error::Format`] and, inside the
    /// tree, [`Error::Member`] for an archive that is truncated, damaged, nested too deep or too large, and
    /// for members that are not allowed: absolute paths, `..`, duplicate names.
    pub fn visit(&self, visit: &mut Visitor<'_>) -> Result<Option<blake3::Hash>> {
        self.walk(&mut Walk::new(visit, &self.copies))
    }

    fn walk(&self, walk: &mut Walk) -> Result<Option<blake3::Hash>> {
        let root = |depth| Place { input: &self.input, path: String::new(), depth };
        match self.format {
            InputFormat::Folder => walk.folder(&root(0)).map(|_| None),
            InputFormat::Zip => self.visit_zip(walk, &root(1)),
            InputFormat::Tar | InputFormat::Gzip => self.visit_stream(walk, &root(1)),
        }
    }

    /// Lists all files and reads what `selection` selects. Archives in a folder whose files lie unpacked
    /// beside them, as torchvision leaves them, are passed over from now on.
    ///
    /// # Errors
    /// The errors of [`Tree::visit`]; [`Error::Member`] if the lists have more than [`LIST_BYTES`];
    /// [`Error::Format`] for an archive that lies beside a part of its files.
    pub fn list(&mut self, selection: Selection) -> Result<Listed> {
        let mut listed = Listed::default();
        let mut left = LIST_BYTES;
        let this = &*self;
        let mut visit = |path: &str, size: u64, reader: &mut dyn Read| {
            if (selection.is_list)(path) {
                let bytes = this.read_member(path, size, reader, left)?;
                left -= bytes.len() as u64;
                listed.lists.insert(path.to_owned(), bytes);
            } else if (selection.is_sniffed)(path) {
                let mut head = Vec::with_capacity(HEAD);
                // a file that cannot be read is of an unknown kind
                let kind = match reader.take(HEAD as u64).read_to_end(&mut head) {
                    Ok(_) => FileKind::of(&head),
                    Err(_) => FileKind::Unknown,
                };
                listed.kinds.insert(path.to_owned(), kind);
            }
            listed.members.push((path.to_owned(), size));
            Ok(Visit::Continue)
        };
        let mut walk = Walk::new(&mut visit, &this.copies);
        this.walk(&mut walk)?;
        let (archives, remarks) = (walk.archives, walk.remarks);
        listed.remarks.extend(remarks);
        listed.members.sort_unstable();
        self.copies = copies::remove(&self.input, archives, &mut listed)?;
        Ok(listed)
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
            Err(error) => refuse(stream::reason(&error)),
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
