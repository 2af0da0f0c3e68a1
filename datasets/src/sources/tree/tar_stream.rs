//! A tar, read straight through.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Read};

use tar::{Archive, Entry, EntryType};

use super::stream::drain;
use super::{Place, Visit, Walk, names};
use crate::error::{Error, Result};

/// Most bytes of the headers that describe one member. Long names come in blocks of a declared size, which the parser
/// takes into memory whole.
const HEADER_BYTES: u64 = 1 << 20;

/// Hands the members of a tar to `walk`.
pub(super) fn read(walk: &mut Walk, place: &Place, from: &mut dyn Read) -> Result<Visit> {
    let (left, ended) = (Cell::new(HEADER_BYTES), Cell::new(false));
    let mut archive = Archive::new(Gate { inner: from, left: &left, ended: &ended });
    let mut last = Vec::new();
    for entry in archive.entries().map_err(|error| walk.broken(place, error))? {
        // the parser passes over what is left of a member and meets its missing end only here
        let mut entry = entry.map_err(|error| walk.broken(place, after(&last, &error)))?;
        left.set(u64::MAX);
        last = entry.path_bytes().into_owned();
        if let Visit::Stop = read_member(walk, place, &mut entry)? {
            return Ok(Visit::Stop);
        }
        // what comes through the gate afterwards is headers alone
        drain(entry).map_err(|error| walk.broken(place, after(&last, &error)))?;
        left.set(HEADER_BYTES);
    }
    match ended.get() {
        false => Ok(Visit::Continue),
        true => Err(walk.broken(place, after(&last, &"it ends without the mark at the end of a tar"))),
    }
}

/// `reason` with the member that was read last.
fn after(last: &[u8], reason: &dyn Display) -> String {
    if last.is_empty() { reason.to_string() } else { format!("at {}: {reason}", names::shown(last)) }
}

/// Hands over the member where it is a file.
fn read_member<R: Read>(walk: &mut Walk, place: &Place, entry: &mut Entry<R>) -> Result<Visit> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(Visit::Continue);
    }
    let name = entry.path_bytes().into_owned();
    // tars from before POSIX tell folders by their names alone
    let is_folder = kind == EntryType::Directory || name.ends_with(b"/");
    let refuse = |reason: &str| Err(Error::member(walk.input, place.inside(&names::shown(&name)), reason));
    let plain = match names::plain(&name) {
        Ok(Some(plain)) => plain,
        Ok(None) => return Ok(Visit::Continue),
        Err(reason) => return refuse(&reason),
    };
    match kind {
        _ if is_folder => Ok(Visit::Continue),
        EntryType::Regular | EntryType::Continuous => walk.member(place, &plain, entry.size(), entry),
        EntryType::Link | EntryType::Symlink => refuse("a link, expected plain files and folders"),
        _ => refuse("a special file, expected plain files and folders"),
    }
}

/// Lets `left` bytes through and tells whether the end was met.
struct Gate<'a> {
    inner: &'a mut dyn Read,
    left: &'a Cell<u64>,
    ended: &'a Cell<bool>,
}

impl Read for Gate<'_> {
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
            None => Err(io::Error::other(format!("more than {HEADER_BYTES} bytes of headers for one member"))),
        }
    }
}
