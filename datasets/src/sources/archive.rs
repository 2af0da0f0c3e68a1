//! `.tar` and `.tar.gz`, read straight through without unpacking.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::members::{Batches, MEMBER_BYTES, Member, is_image, member_error, plain_path, too_large};
use crate::error::{Error, Result};

/// Bytes asked for before anything of a member was read: what it declares may be a lie.
const FIRST_BYTES: u64 = 1 << 20;
/// Bytes read at once.
const BUFFER: usize = 1 << 17;

/// Hands the image members of the archive at `path` to `batches`; gives the BLAKE3 of the whole file (of what was read,
/// where nobody wanted all).
pub(super) fn read(path: &Path, batches: &mut Batches) -> Result<blake3::Hash> {
    let file = File::open(path).map_err(Error::io(path))?;
    let hashing = Hashing { inner: file, hasher: blake3::Hasher::new() };
    let mut buffered = BufReader::with_capacity(BUFFER, hashing);
    let start = buffered.fill_buf().map_err(Error::io(path))?;
    let complete;
    if start.starts_with(&[0x1f, 0x8b]) {
        let mut unzipped = MultiGzDecoder::new(buffered);
        complete = read_members(path, &mut unzipped, batches)?;
        if complete {
            drain(&mut unzipped).map_err(|error| broken(path, &error))?;
        }
        buffered = unzipped.into_inner();
    } else if start.get(257..262) == Some(b"ustar") {
        complete = read_members(path, &mut buffered, batches)?;
    } else {
        return Err(Error::format(path, "expected a folder, a .tar or a .tar.gz, found something else"));
    }
    if complete {
        drain(&mut buffered).map_err(Error::io(path))?;
    }
    Ok(buffered.into_inner().hasher.finalize())
}

/// Hands the image members of an uncompressed archive to `batches`; false where nobody wanted all.
fn read_members(path: &Path, from: &mut impl Read, batches: &mut Batches) -> Result<bool> {
    let mut archive = Archive::new(from);
    for entry in archive.entries().map_err(|error| broken(path, &error))? {
        let mut entry = entry.map_err(|error| broken(path, &error))?;
        if let Some(member) = read_member(path, &mut entry)?
            && !batches.push(member)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The member where it is an image, nothing where it is a folder or another file.
fn read_member<R: Read>(archive: &Path, entry: &mut Entry<R>) -> Result<Option<Member>> {
    let path = entry.path().map_err(|error| broken(archive, &error))?.into_owned();
    let refuse = |reason: String| Err(member_error(archive, &path, reason));
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(None);
    }
    let plain = match plain_path(&path) {
        Ok(plain) => plain,
        Err(reason) => return refuse(reason),
    };
    match kind {
        EntryType::Directory => return Ok(None),
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Link | EntryType::Symlink => return refuse("a link, expected plain files and folders".into()),
        _ => return refuse("a special file, expected plain files and folders".into()),
    }
    if !is_image(&path) {
        return Ok(None);
    }
    let declared = entry.size();
    if declared > MEMBER_BYTES {
        return refuse(too_large(declared));
    }
    let mut bytes = Vec::with_capacity(declared.min(FIRST_BYTES) as usize);
    entry.read_to_end(&mut bytes).map_err(|error| broken(archive, &error))?;
    if bytes.len() as u64 != declared {
        return refuse(format!("{declared} bytes declared, {} found: the archive is truncated", bytes.len()));
    }
    Ok(Some(Member { path: plain, bytes }))
}

/// An [`Error::Format`] about an archive that ends early or does not hold together.
fn broken(path: &Path, error: &io::Error) -> Error {
    Error::format(path, format!("the archive is truncated or damaged: {error}\nhint: copy or download it again"))
}

/// Reads to the end, past which checksums stand.
fn drain(from: &mut impl Read) -> io::Result<()> {
    io::copy(from, &mut io::sink()).map(|_| ())
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
