//! A folder or an archive of files, archives inside it included, read file after file without unpacking it to disk.
//!
//! What is read is never trusted: a declared size is not allocated before that much was read, archives stand at most
//! three deep in one another, and members whose names or kinds could reach outside the tree are refused.

mod folder;
mod names;
mod stream;
mod tar_stream;
mod zip_file;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tar::Header;

use self::folder::Lazy;
use self::names::Seen;
use self::stream::{Hashing, Limited, drain, peek};
use crate::error::{Error, Result};

/// Largest image file, in bytes.
pub const IMAGE_BYTES: u64 = 64 << 20;
/// Most bytes of all lists of a tree, which are held in memory (CIFAR-10's batches, labels among the pixels, have 186 MB).
pub const LIST_BYTES: u64 = 512 << 20;
/// Most bytes that an archive inside another archive may have, packed and unpacked.
const NESTED_BYTES: u64 = 1 << 30;
/// Largest zip inside another archive: it can only be read when held in memory, its directory being at its end.
const NESTED_ZIP_BYTES: u64 = 64 << 20;
/// Archives that may stand around a file.
const LEVELS: usize = 3;
/// Bytes asked for before anything of a member was read.
const FIRST_BYTES: u64 = 1 << 20;
/// Bytes read at once.
const BUFFER: usize = 1 << 17;
/// What to do about an archive inside another one.
const UNPACK: &str = "hint: unpack the outer archive and give the folder";

/// Path and bytes of files.
pub type Members = Vec<(String, u64)>;
/// Contents of files by path.
pub type Lists = BTreeMap<String, Vec<u8>>;

/// A folder or an archive, read member after member without unpacking it to disk.
#[derive(Clone, Debug)]
pub struct Tree {
    input: PathBuf,
    form: Form,
}

/// Whether a visitor wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The next member.
    Continue,
    /// No more of them.
    Stop,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Folder,
    Tar,
    Gzip,
    Zip,
}

impl Tree {
    /// The folder, `.tar`, `.tar.gz` or `.zip` at `input`, told apart by what is inside, not by the name.
    ///
    /// # Errors
    /// [`Error::Io`] where there is nothing to read, [`Error::Format`] where it is something else.
    pub fn open(input: &Path) -> Result<Tree> {
        let metadata = fs::metadata(input).map_err(Error::io(input))?;
        let form = match (metadata.is_dir(), metadata.is_file()) {
            (true, _) => Some(Form::Folder),
            (false, true) => Form::of_file(input).map_err(Error::io(input))?,
            (false, false) => None,
        };
        match form {
            Some(form) => Ok(Tree { input: input.to_owned(), form }),
            None => {
                let reason = "expected a folder, a .tar, a .tar.gz or a .zip, found something else";
                let hint = "hint: unpack an archive of another kind and give the folder";
                Err(Error::format(input, format!("{reason}\n{hint}")))
            }
        }
    }

    /// The folder or archive, for messages.
    pub fn input(&self) -> &Path {
        &self.input
    }

    /// Calls `visit(path, bytes, reader)` for every file, in an order that is the same every time: that of the paths in
    /// folders, that of the members in archives. A visitor that does not read a file costs no more than passing over it.
    ///
    /// An archive inside the tree (`.tar`, `.tar.gz`, `.tgz`, `.zip` by its name) is descended into as if it were a
    /// folder, as in `n01440764.tar/n01440764_18.JPEG`. Hidden files and `__MACOSX` are passed over; links are followed
    /// in folders and refused in archives.
    ///
    /// Gives the BLAKE3 of the archive where the input is one and was read to its end.
    ///
    /// # Errors
    /// What `visit` gives; [`Error::Io`] for what cannot be read; [`Error::Format`] and, inside the tree,
    /// [`Error::Member`] for an archive that is truncated or damaged, nested too deep or too large, and for members
    /// that must not be: absolute paths, `..`, links, special files, doubled names, names that are not UTF-8.
    pub fn visit(
        &self,
        visit: &mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<Visit>,
    ) -> Result<Option<blake3::Hash>> {
        let mut walk = Walk { input: &self.input, seen: Seen::default(), visit };
        let root = |level| Place { path: String::new(), level };
        match self.form {
            Form::Folder => walk.folder(&root(0)).map(|_| None),
            Form::Zip => self.visit_zip(&mut walk, &root(1)),
            Form::Tar | Form::Gzip => self.visit_stream(&mut walk, &root(1)),
        }
    }

    /// Path and bytes of all files, sorted by path, and the contents of those for which `is_list` holds.
    ///
    /// # Errors
    /// As [`Tree::visit`]; [`Error::Member`] where the lists have more than [`LIST_BYTES`].
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

    /// The whole of a visited file: exactly `size` bytes, and `limit` at most.
    ///
    /// # Errors
    /// [`Error::Member`] where it has more or fewer, or cannot be read.
    pub fn read_member(&self, path: &str, size: u64, reader: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
        let refuse = |reason: String| Err(Error::member(&self.input, path, reason));
        if size > limit {
            return refuse(format!("{size} bytes, expected at most {limit}"));
        }
        let mut bytes = Vec::with_capacity(size.min(FIRST_BYTES) as usize);
        match reader.take(size.saturating_add(1)).read_to_end(&mut bytes) {
            Err(error) => refuse(format!("truncated or damaged: {error}")),
            Ok(read) if read as u64 > size => refuse(format!("{size} bytes declared, more found")),
            Ok(read) if (read as u64) < size => refuse(format!("{size} bytes declared, {read} found: it is truncated")),
            Ok(_) => Ok(bytes),
        }
    }

    /// Walks through a tar or a packed one, hashing all of it.
    fn visit_stream(&self, walk: &mut Walk, place: &Place) -> Result<Option<blake3::Hash>> {
        let file = File::open(&self.input).map_err(Error::io(&self.input))?;
        let mut from = BufReader::with_capacity(BUFFER, Hashing::new(file));
        if let Visit::Stop = walk.archive(place, &mut from)? {
            return Ok(None);
        }
        drain(&mut from).map_err(Error::io(&self.input))?;
        Ok(Some(from.into_inner().hash()))
    }

    /// Walks through a zip, and hashes it in a second pass: its members do not lie one after the other.
    fn visit_zip(&self, walk: &mut Walk, place: &Place) -> Result<Option<blake3::Hash>> {
        let mut file = File::open(&self.input).map_err(Error::io(&self.input))?;
        if let Visit::Stop = zip_file::read(walk, place, BufReader::new(&file))? {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        file.rewind().and_then(|()| hasher.update_reader(file).map(|_| ())).map_err(Error::io(&self.input))?;
        Ok(Some(hasher.finalize()))
    }
}

impl Form {
    /// The form of the archive at `path`.
    fn of_file(path: &Path) -> io::Result<Option<Form>> {
        Ok(Form::of(&peek(File::open(path)?)?.0))
    }

    /// The form of an archive that starts with `head`.
    fn of(head: &[u8]) -> Option<Form> {
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(Form::Gzip)
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Form::Zip)
        } else if is_tar(head) {
            Some(Form::Tar)
        } else {
            None
        }
    }
}

/// Whether `head` is a header with the right checksum (tars from before POSIX have no other mark), or the end of a tar
/// that holds nothing.
fn is_tar(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(head) else { return false };
    let (before, after) = (&block[..148], &block[156..]);
    // the checksum counts its own eight bytes as spaces
    let sum = before.iter().chain(after).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    header.cksum().is_ok_and(|declared| declared == sum) || block.iter().all(|&byte| byte == 0)
}

/// A folder or archive inside the tree.
struct Place {
    /// Its path; empty for the input.
    path: String,
    /// Archives that stand around its files.
    level: usize,
}

impl Place {
    /// The path of `member`.
    fn inside(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}/{member}", self.path) }
    }

    /// The archive `member`.
    fn archive(&self, member: &str) -> Place {
        Place { path: self.inside(member), level: self.level + 1 }
    }
}

/// A way through a tree.
struct Walk<'a> {
    input: &'a Path,
    seen: Seen,
    visit: &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<Visit>,
}

impl Walk<'_> {
    /// The files of the folder that is the input.
    fn folder(&mut self, place: &Place) -> Result<Visit> {
        for (path, size) in folder::files(self.input)? {
            let file = self.input.join(&path);
            let visit = match names::is_archive(&path) {
                true => self.archive_in_folder(&place.archive(&path), &file)?,
                false => self.file(path, size, &mut Lazy::new(file))?,
            };
            if visit == Visit::Stop {
                return Ok(Visit::Stop);
            }
        }
        Ok(Visit::Continue)
    }

    /// An archive that is a file of its own: of any size, and seekable.
    fn archive_in_folder(&mut self, place: &Place, path: &Path) -> Result<Visit> {
        let form = Form::of_file(path).map_err(Error::io(path))?;
        let file = File::open(path).map_err(Error::io(path))?;
        match form {
            Some(Form::Zip) => zip_file::read(self, place, BufReader::new(file)),
            _ => self.archive(place, &mut BufReader::with_capacity(BUFFER, file)),
        }
    }

    /// A member of an archive: a file, or an archive in its turn.
    fn member(&mut self, place: &Place, member: &str, size: u64, from: &mut dyn Read) -> Result<Visit> {
        if !names::is_archive(member) {
            return self.file(place.inside(member), size, from);
        }
        let place = place.archive(member);
        if size > NESTED_BYTES {
            let reason = format!("{size} bytes, expected at most {NESTED_BYTES} of an archive inside another");
            return Err(self.refused(&place, format!("{reason}\n{UNPACK}")));
        }
        self.archive(&place, &mut Limited { inner: from, left: NESTED_BYTES })
    }

    /// A file for the visitor, who gets no more of it than one byte above its declared size.
    fn file(&mut self, path: String, size: u64, from: &mut dyn Read) -> Result<Visit> {
        if !self.seen.insert(path.as_bytes()) {
            return Err(Error::member(self.input, path, "there are two members of this name"));
        }
        (self.visit)(&path, size, &mut from.take(size.saturating_add(1)))
    }

    /// The members of an archive that is read straight through.
    fn archive(&mut self, place: &Place, from: &mut dyn Read) -> Result<Visit> {
        if place.level > LEVELS {
            return Err(self.refused(place, format!("more than {LEVELS} archives inside one another\n{UNPACK}")));
        }
        let (head, mut from) = peek(from).map_err(|error| self.broken(place, error))?;
        match Form::of(&head) {
            Some(Form::Tar) => tar_stream::read(self, place, &mut from),
            Some(Form::Gzip) => self.gzip(place, from),
            Some(Form::Zip) => self.nested_zip(place, from),
            _ => Err(self.refused(place, "neither tar nor gzip nor zip inside")),
        }
    }

    /// The members of a packed tar.
    fn gzip(&mut self, place: &Place, from: impl Read) -> Result<Visit> {
        let unpacked = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, from));
        // what is a file of its own may be as large as the published sets are
        let left = if place.level > 1 { NESTED_BYTES } else { u64::MAX };
        let (head, mut unpacked) =
            peek(Limited { inner: unpacked, left }).map_err(|error| self.broken(place, error))?;
        if Form::of(&head) != Some(Form::Tar) {
            return Err(self.refused(place, "expected a tar inside the gzip, found something else"));
        }
        if let Visit::Stop = tar_stream::read(self, place, &mut unpacked)? {
            return Ok(Visit::Stop);
        }
        drain(unpacked).map_err(|error| self.broken(place, error))?;
        Ok(Visit::Continue)
    }

    /// The members of a zip that is a member of an archive.
    fn nested_zip(&mut self, place: &Place, from: impl Read) -> Result<Visit> {
        let mut bytes = Vec::new();
        from.take(NESTED_ZIP_BYTES + 1).read_to_end(&mut bytes).map_err(|error| self.broken(place, error))?;
        if bytes.len() as u64 > NESTED_ZIP_BYTES {
            let reason = format!("a zip inside another archive may have at most {NESTED_ZIP_BYTES} bytes");
            return Err(self.refused(place, format!("{reason}\n{UNPACK}")));
        }
        zip_file::read(self, place, Cursor::new(bytes))
    }

    /// About the archive at `place`, which ends early or does not hold together.
    fn broken(&self, place: &Place, error: impl Display) -> Error {
        let hint = "hint: copy or download it again";
        self.refused(place, format!("the archive is truncated or damaged: {error}\n{hint}"))
    }

    /// About the archive at `place`.
    fn refused(&self, place: &Place, reason: impl Into<String>) -> Error {
        match place.path.as_str() {
            "" => Error::format(self.input, reason),
            member => Error::member(self.input, member, reason),
        }
    }
}
