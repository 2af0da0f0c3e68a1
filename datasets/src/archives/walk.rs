//! One pass over all members of a folder or archive, including nested archives.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use super::folder::{self, FolderFile, LazyFile};
use super::input_format::{EMPTY_TAR_BYTES, InputFormat};
use super::names::{self, SeenNames};
use super::place::{Place, Visit, Visitor};
use super::stream::{self, Gunzip, Limited, Unreadable, drain, peek};
use super::tar_stream::{self, End};
use super::zip_file;
use crate::error::{Error, Result};
use crate::file_kind::FileKind;

/// Maximum size in bytes of a nested archive, both packed and unpacked.
const NESTED_BYTES: u64 = 1 << 30;
/// Maximum size in bytes of a nested zip. It is held in memory, because a zip's directory is at its end.
const NESTED_ZIP_BYTES: u64 = 64 << 20;
/// Maximum number of archives that enclose a file.
const MAX_DEPTH: usize = 3;
/// Buffer size in bytes.
pub(super) const BUFFER: usize = 1 << 17;
/// The hint for files that are no archive.
pub(super) const OTHER_ARCHIVE: &str = "hint: unpack an archive of another kind and give the folder";
/// The hint for errors about nested archives.
const UNPACK_OUTER: &str = "hint: unpack the outer archive and give the folder";

/// The state of a pass.
pub(super) struct Walk<'v, 'f> {
    seen: SeenNames,
    visit: &'v mut Visitor<'f>,
    /// Archives of the input folder that are not read.
    passed_over: &'v BTreeSet<String>,
    /// Archives of the input folder that were read.
    pub archives: Vec<String>,
    /// What the user should know about archives that were read.
    pub remarks: Vec<String>,
}

impl<'v, 'f> Walk<'v, 'f> {
    /// A pass that calls `visit` for every file, except for those of the archives `passed_over`.
    pub fn new(visit: &'v mut Visitor<'f>, passed_over: &'v BTreeSet<String>) -> Self {
        Walk { seen: SeenNames::default(), visit, passed_over, archives: Vec::new(), remarks: Vec::new() }
    }

    /// Visits the files of the input folder.
    pub fn folder(&mut self, place: &Place) -> Result<Visit> {
        for FolderFile { path, place: file, size, unreadable } in folder::files(place.input)? {
            let visit = match unreadable {
                Some(reason) => self.file(place, &path, size, &mut Unreadable(reason))?,
                None if !names::is_archive(&path) => {
                    self.file(place, &path, size, &mut LazyFile::new(file))?
                }
                None if self.passed_over.contains(&path) => Visit::Continue,
                None => {
                    let inside = place.archive(&path);
                    self.archives.push(path);
                    self.archive_file(&inside, &file)?
                }
            };
            if visit == Visit::Stop {
                return Ok(Visit::Stop);
            }
        }
        Ok(Visit::Continue)
    }

    /// Visits the members of a zip. Its reader can seek.
    pub fn zip(&mut self, place: &Place, from: impl Read + std::io::Seek) -> Result<Visit> {
        zip_file::read(place, from, &mut |member, size, from| self.member(place, member, size, from))
    }

    /// Visits the members of an archive that is read from front to back.
    pub fn archive(&mut self, place: &Place, from: &mut dyn Read) -> Result<Visit> {
        if place.depth > MAX_DEPTH {
            return Err(
                place.error(format!("archives are nested more than {MAX_DEPTH} deep\n{UNPACK_OUTER}"))
            );
        }
        let (kind, mut from) = peek(from).map_err(|error| place.error(stream::reason(&error)))?;
        match InputFormat::of(kind) {
            Some(InputFormat::Tar) => self.tar(place, &mut from),
            Some(InputFormat::Gzip) => self.gzip(place, from),
            Some(InputFormat::Zip) => self.nested_zip(place, from),
            _ => Err(place.error(kind.instead_of("a tar, gzip or zip", OTHER_ARCHIVE))),
        }
    }

    /// Visits an archive in a folder. It may have any size, and it can be read at any position.
    fn archive_file(&mut self, place: &Place, path: &Path) -> Result<Visit> {
        let kind = FileKind::of_file(path).map_err(Error::io(path))?;
        let file = File::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        if kind == FileKind::Zeros && size > EMPTY_TAR_BYTES {
            return Err(place.error(kind.instead_of("a tar, gzip or zip", OTHER_ARCHIVE)));
        }
        match InputFormat::of(kind) {
            Some(InputFormat::Zip) => self.zip(place, BufReader::new(file)),
            _ => self.archive(place, &mut BufReader::with_capacity(BUFFER, file)),
        }
    }

    /// Visits a member of an archive: a file or a nested archive.
    fn member(&mut self, place: &Place, member: &str, size: u64, from: &mut dyn Read) -> Result<Visit> {
        if !names::is_archive(member) {
            return self.file(place, member, size, from);
        }
        let place = place.archive(member);
        if size > NESTED_BYTES {
            let reason = format!("{size} bytes, expected at most {NESTED_BYTES} for a nested archive");
            return Err(place.error(format!("{reason}\n{UNPACK_OUTER}")));
        }
        self.archive(&place, &mut Limited { inner: from, left: NESTED_BYTES })
    }

    /// Passes a file to the visitor. The visitor can read at most one byte more than the declared size.
    fn file(&mut self, place: &Place, member: &str, size: u64, from: &mut dyn Read) -> Result<Visit> {
        let path = place.join(member);
        if !self.seen.insert(path.as_bytes()) {
            return Err(Error::member(place.input, path, "two members have this name"));
        }
        (self.visit)(&path, size, &mut from.take(size.saturating_add(1)))
    }

    /// Visits the members of a tar that is not compressed.
    fn tar(&mut self, place: &Place, from: &mut dyn Read) -> Result<Visit> {
        match self.tar_members(place, from)? {
            End::Stopped => Ok(Visit::Stop),
            End::Mark => Ok(Visit::Continue),
            End::NoMark => {
                let reason = "has no end-of-archive mark; if it was cut off, its last members are missing";
                self.remarks.push(format!("{} {reason}", place.name()));
                Ok(Visit::Continue)
            }
        }
    }

    fn tar_members(&mut self, place: &Place, from: &mut dyn Read) -> Result<End> {
        tar_stream::read(place, from, &mut |member, size, from| self.member(place, member, size, from))
    }

    /// Visits the members of a gzipped tar. The end of the gzip shows that the tar is whole.
    fn gzip(&mut self, place: &Place, from: impl Read) -> Result<Visit> {
        let unpacked = Gunzip::new(BufReader::with_capacity(BUFFER, from));
        // the published sets are large, so only nested archives have a size limit
        let left = if place.depth > 1 { NESTED_BYTES } else { u64::MAX };
        let (kind, mut unpacked) =
            peek(Limited { inner: unpacked, left }).map_err(|error| place.damaged(error))?;
        if InputFormat::of(kind) != Some(InputFormat::Tar) {
            return Err(place.error(kind.instead_of("a tar inside the gzip", OTHER_ARCHIVE)));
        }
        if self.tar_members(place, &mut unpacked)? == End::Stopped {
            return Ok(Visit::Stop);
        }
        drain(unpacked).map_err(|error| place.damaged(error))?;
        Ok(Visit::Continue)
    }

    /// Visits the members of a zip inside another archive.
    fn nested_zip(&mut self, place: &Place, from: impl Read) -> Result<Visit> {
        let mut bytes = Vec::new();
        from.take(NESTED_ZIP_BYTES + 1).read_to_end(&mut bytes).map_err(|error| place.damaged(error))?;
        if bytes.len() as u64 > NESTED_ZIP_BYTES {
            let reason = format!("a zip inside another archive may have at most {NESTED_ZIP_BYTES} bytes");
            return Err(place.error(format!("{reason}\n{UNPACK_OUTER}")));
        }
        self.zip(place, Cursor::new(bytes))
    }
}
