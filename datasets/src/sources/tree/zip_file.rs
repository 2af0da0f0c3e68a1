//! A zip, read where its directory says.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::names::{self, Seen};
use super::{Place, Visit, Walk};
use crate::error::{Error, Result};

/// Bytes of an entry of the directory at a zip's end that stand before its name.
const ENTRY_BYTES: usize = 46;

/// Hands the members of a zip to `walk`.
pub(super) fn read(walk: &mut Walk, place: &Place, from: impl Read + Seek) -> Result<Visit> {
    let mut archive = ZipArchive::new(from).map_err(|error| walk.broken(place, error))?;
    if archive.has_duplicate_names() {
        return refuse_doubled(walk, place, archive);
    }
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).and_then(|name| name.ok()).map(|name| name.into_owned());
        let refuse = |error| {
            Error::member(walk.input, place.inside(&name.unwrap_or_default()), format!("cannot be read: {error}"))
        };
        let mut entry = archive.by_index(index).map_err(refuse)?;
        if let Visit::Stop = read_member(walk, place, &mut entry)? {
            return Ok(Visit::Stop);
        }
    }
    Ok(Visit::Continue)
}

/// Hands over the member where it is a file.
fn read_member<R: Read>(walk: &mut Walk, place: &Place, entry: &mut ZipFile<R>) -> Result<Visit> {
    let name = entry.name_raw().to_vec();
    let refuse = |reason: &str| Err(Error::member(walk.input, place.inside(&names::shown(&name)), reason));
    let plain = match names::plain(&name) {
        Ok(Some(plain)) => plain,
        Ok(None) => return Ok(Visit::Continue),
        Err(reason) => return refuse(&reason),
    };
    // as in stat(2); 0 where the zip says nothing
    match entry.unix_mode().unwrap_or(0) & 0o170_000 {
        _ if entry.is_dir() => Ok(Visit::Continue),
        0 | 0o100_000 => walk.member(place, &plain, entry.size(), entry),
        0o120_000 => refuse("a link, expected plain files and folders"),
        _ => refuse("a special file, expected plain files and folders"),
    }
}

/// Names the member that comes twice, of which the parser keeps but one.
fn refuse_doubled<R: Read + Seek>(walk: &Walk, place: &Place, archive: ZipArchive<R>) -> Result<Visit> {
    let start = archive.central_directory_start();
    let name = doubled_name(archive.into_inner(), start).map_err(|error| walk.broken(place, error))?;
    Err(Error::member(walk.input, place.inside(&name), "there are two members of this name"))
}

/// The first name that comes twice in the directory that starts at `start`.
fn doubled_name(mut from: impl Read + Seek, start: u64) -> io::Result<String> {
    from.seek(SeekFrom::Start(start))?;
    let mut from = BufReader::new(from);
    let mut seen = Seen::default();
    let mut entry = [0; ENTRY_BYTES];
    loop {
        from.read_exact(&mut entry)?;
        let length = |at: usize| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let (name, rest) = (length(28), length(30) + length(32));
        let mut bytes = vec![0; name + rest];
        from.read_exact(&mut bytes)?;
        if !seen.insert(&bytes[..name]) {
            return Ok(names::shown(&bytes[..name]));
        }
    }
}
