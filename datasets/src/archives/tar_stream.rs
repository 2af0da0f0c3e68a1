//! Reading a tar from front to back.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};

use super::names;
use super::place::{Place, UNPACK, Visit, Visitor};
use super::stream::{Unreadable, drain};
use crate::error::Result;

/// Maximum header bytes of one member. Long names are stored in blocks with a declared size, and the parser
/// reads a block into memory at once.
const HEADER_BYTES: u64 = 1 << 20;

/// How the reading of a tar ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The visitor stopped.
    Stopped,
    /// At the end-of-archive mark.
    Mark,
    /// After a whole member, without an end-of-archive mark. Other programs read such tars as well, but
    /// nothing shows whether members are missing.
    NoMark,
}

/// Calls `visit` for each member of the tar at `place`.
pub(super) fn read(place: &Place, from: &mut dyn Read, visit: &mut Visitor<'_>) -> Result<End> {
    let (left, ended) = (Cell::new(HEADER_BYTES), Cell::new(false));
    let mut archive = Archive::new(HeaderLimit { inner: from, left: &left, ended: &ended });
    let mut last = Vec::new();
    for entry in archive.entries().map_err(|error| place.damaged(error))? {
        // the parser skips the rest of the previous member here, and only now notices if its end is missing
        let mut entry = entry.map_err(|error| place.damaged(after(&last, &error)))?;
        left.set(u64::MAX);
        last = entry.path_bytes().into_owned();
        if let Visit::Stop = read_member(place, &mut entry, visit)? {
            return Ok(End::Stopped);
        }
        // after this, only headers are left to read before the next member
        drain(entry).map_err(|error| place.damaged(after(&last, &error)))?;
        left.set(HEADER_BYTES);
    }
    match (ended.get(), last.is_empty()) {
        (false, _) => Ok(End::Mark),
        (true, false) => Ok(End::NoMark),
        (true, true) => Err(place.damaged("it has no members and no end-of-archive mark")),
    }
}

/// `reason` with the name of the last member that was read.
fn after(last: &[u8], reason: &dyn Display) -> String {
    if last.is_empty() { reason.to_string() } else { format!("at {}: {reason}", names::lossy(last)) }
}

/// Passes the member to `visit` if it is a file.
fn read_member<R: Read>(place: &Place, entry: &mut Entry<R>, visit: &mut Visitor<'_>) -> Result<Visit> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(Visit::Continue);
    }
    let name = entry.path_bytes().into_owned();
    // tars older than POSIX mark folders only by a trailing slash
    let is_folder = kind == EntryType::Directory || name.ends_with(b"/");
    let refuse = |reason: &str| Err(place.member_error(&names::lossy(&name), reason));
    let path = match names::normalized(&name) {
        Ok(Some(path)) => path,
        Ok(None) => return Ok(Visit::Continue),
        Err(reason) => return refuse(&reason),
    };
    match kind {
        _ if is_folder => Ok(Visit::Continue),
        EntryType::Regular | EntryType::Continuous => visit(&path, entry.size(), entry),
        _ => visit(&path, 0, &mut Unreadable(no_content(kind, entry))),
    }
}

/// Why a member that is no plain file is not read.
fn no_content<R: Read>(kind: EntryType, entry: &Entry<R>) -> String {
    let target = entry.link_name_bytes().map(|target| names::lossy(&target)).unwrap_or_default();
    let what = match kind {
        EntryType::Link => format!("a hard link to {target}"),
        EntryType::Symlink => format!("a symbolic link to {target}"),
        EntryType::GNUSparse => "a sparse file".to_owned(),
        _ => return "a special file, expected plain files and folders".to_owned(),
    };
    format!("{what}, not read in an archive\n{UNPACK}")
}

/// A reader that allows `left` more bytes and records whether the end of the file was reached.
struct HeaderLimit<'a> {
    inner: &'a mut dyn Read,
    left: &'a Cell<u64>,
    ended: &'a Cell<bool>,
}

impl Read for HeaderLimit<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.ended.set(true);
        }
        match self.left.get().checked_sub(read as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(read)
            }
            None => {
                Err(io::Error::other(format!("more than {HEADER_BYTES} bytes of headers for one member")))
            }
        }
    }
}
