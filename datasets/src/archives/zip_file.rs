//! Reading the members of a zip from its directory.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::names::{self, SeenNames};
use super::place::{Place, UNPACK, Visit, Visitor};
use super::stream::Unreadable;
use crate::error::Result;

/// Number of bytes before the name in an entry of a zip's directory.
const ENTRY_BYTES: usize = 46;

/// Calls `visit` for each member of the zip at `place`.
pub(super) fn read(place: &Place, from: impl Read + Seek, visit: &mut Visitor<'_>) -> Result<Visit> {
    let mut archive = ZipArchive::new(from).map_err(|error| place.damaged(error))?;
    if archive.has_duplicate_names() {
        return refuse_duplicate(place, archive);
    }
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).and_then(|name| name.ok()).map(|name| name.into_owned());
        let refuse = |error| {
            place.member_error(&name.unwrap_or_default(), format!("cannot be read: {error}\n{UNPACK}"))
        };
        let mut entry = archive.by_index(index).map_err(refuse)?;
        if let Visit::Stop = read_member(place, &mut entry, visit)? {
            return Ok(Visit::Stop);
        }
    }
    Ok(Visit::Continue)
}

/// Passes the member to `visit` if it is a file.
fn read_member<R: Read>(place: &Place, entry: &mut ZipFile<R>, visit: &mut Visitor<'_>) -> Result<Visit> {
    let name = with_slashes(entry.name_raw());
    let refuse = |reason: &str| Err(place.member_error(&names::lossy(&name), reason));
    let path = match names::normalized(&name) {
        Ok(Some(path)) => path,
        Ok(None) => return Ok(Visit::Continue),
        Err(reason) => return refuse(&reason),
    };
    // the file type bits of stat(2); 0 if the zip has no mode for the member
    match entry.unix_mode().unwrap_or(0) & 0o170_000 {
        _ if entry.is_dir() || name.ends_with(b"/") => Ok(Visit::Continue),
        0 | 0o100_000 => visit(&path, entry.size(), entry),
        0o120_000 => {
            let reason = format!("a symbolic link, not read in an archive\n{UNPACK}");
            visit(&path, 0, &mut Unreadable(reason))
        }
        _ => visit(&path, 0, &mut Unreadable("a special file, expected plain files and folders".into())),
    }
}

/// A name with the slashes that the format requires. Some programs for Windows write backslashes.
fn with_slashes(name: &[u8]) -> Vec<u8> {
    if name.contains(&b'/') {
        return name.to_vec();
    }
    name.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
}

/// Returns the error for a duplicate name. The parser keeps only one of the two members.
fn refuse_duplicate<R: Read + Seek>(place: &Place, archive: ZipArchive<R>) -> Result<Visit> {
    let start = archive.central_directory_start();
    let name = duplicate_name(archive.into_inner(), start).map_err(|error| place.damaged(error))?;
    Err(place.member_error(&name, "two members have this name"))
}

/// The first duplicate name in the directory at `start`.
fn duplicate_name(mut from: impl Read + Seek, start: u64) -> io::Result<String> {
    from.seek(SeekFrom::Start(start))?;
    let mut from = BufReader::new(from);
    let mut seen = SeenNames::default();
    let mut entry = [0; ENTRY_BYTES];
    loop {
        from.read_exact(&mut entry)?;
        let length = |at: usize| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let (name, rest) = (length(28), length(30) + length(32));
        let mut bytes = vec![0; name + rest];
        from.read_exact(&mut bytes)?;
        if !seen.insert(&bytes[..name]) {
            return Ok(names::lossy(&bytes[..name]));
        }
    }
}
