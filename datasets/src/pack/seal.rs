//! The seal: text at the start of a pack that shows whether the pack is complete and undamaged.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use super::format::{FORMAT, READABLE, REPACK, VERSION, wrong_version};
use crate::error::{Error, Result};
use crate::file_kind::FileKind;

/// Size of the seal in bytes: the smallest user block that HDF5 allows.
pub(super) const SEAL_BYTES: usize = 512;

/// Position of the flags in HDF5's superblock that say that a program has the file open for writing.
const OPEN_FLAGS: Range<u64> = SEAL_BYTES as u64 + 20..SEAL_BYTES as u64 + 24;
/// The flags of a file that is open for writing. A program that is killed leaves them so, and nothing else is
/// changed if it has written nothing.
const OPEN: [u8; 4] = [1, 0, 0, 0];
/// The flags of a closed file, which the hash takes in both cases.
const CLOSED: [u8; 4] = [0; 4];

/// The content of the seal.
#[derive(Debug, PartialEq)]
pub(super) struct Seal {
    /// Version of the format.
    pub version: u32,
    /// Length of the file in bytes, including the seal.
    pub length: u64,
    /// Positions of image and mask bytes, in ascending order. Each image and mask has its own checksum.
    payloads: Vec<Range<u64>>,
    /// Hash of the lines above and of everything after the seal except the payloads.
    hash: blake3::Hash,
}

impl Seal {
    /// Seals the finished HDF5 file at `path`.
    pub fn write(path: &Path, mut payloads: Vec<Range<u64>>) -> std::io::Result<()> {
        payloads.sort_by_key(|range| range.start);
        let mut file = File::options().read(true).write(true).open(path)?;
        let (version, length) = (VERSION, file.metadata()?.len());
        let mut seal = Seal { version, length, payloads, hash: blake3::Hash::from_bytes([0; 32]) };
        seal.hash = seal.compute_hash(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&seal.to_block())
    }

    /// Reads the seal of the pack at `path` and checks the file against it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is not a pack or is truncated or
    /// damaged.
    pub fn check(path: &Path) -> Result<Seal> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let found = file.metadata().map_err(Error::io(path))?.len();
        let mut block = Vec::with_capacity(SEAL_BYTES);
        (&file).take(SEAL_BYTES as u64).read_to_end(&mut block).map_err(Error::io(path))?;
        let seal = Seal::parse(&block).map_err(|reason| Error::format(path, reason))?;
        if seal.length != found {
            let reason = format!("expected {} bytes, found {found}: truncated or altered", seal.length);
            return Err(Error::format(path, format!("{reason}\n{REPACK}")));
        }
        if seal.compute_hash(&mut file).map_err(Error::io(path))? != seal.hash {
            let reason =
                "damaged outside its images: seal, labels, names, latents, checksums or the HDF5 structure";
            return Err(Error::format(path, format!("{reason} do not have the recorded checksum\n{REPACK}")));
        }
        Ok(seal)
    }

    /// The lines before the hash.
    fn head(&self) -> String {
        let line = |range: &Range<u64>| format!("payload {} {}\n", range.start, range.end - range.start);
        let payloads: String = self.payloads.iter().map(line).collect();
        format!("{FORMAT} {}\nlength {}\n{payloads}", self.version, self.length)
    }

    /// Computes the hash of `file`.
    fn compute_hash(&self, file: &mut File) -> std::io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.head().as_bytes());
        let mut from = SEAL_BYTES as u64;
        for range in self.payloads.iter().chain(std::iter::once(&(self.length..self.length))) {
            if range.start >= OPEN_FLAGS.end && from <= OPEN_FLAGS.start {
                hash_bytes(&mut hasher, file, from..OPEN_FLAGS.start)?;
                let mut flags = [0; 4];
                file.read_exact(&mut flags)?;
                hasher.update(if flags == OPEN { &CLOSED } else { &flags });
                from = OPEN_FLAGS.end;
            }
            hash_bytes(&mut hasher, file, from..range.start)?;
            from = range.end;
        }
        Ok(hasher.finalize())
    }

    /// The bytes of the seal.
    fn to_block(&self) -> [u8; SEAL_BYTES] {
        let text = format!("{}blake3 {}\n", self.head(), self.hash.to_hex());
        let mut block = [b' '; SEAL_BYTES];
        // this fits even for three splits with images and masks and numbers of 20 digits
        block[..text.len()].copy_from_slice(text.as_bytes());
        block
    }

    /// Parses a seal.
    ///
    /// # Errors
    /// The reason why `block` is not a seal.
    fn parse(block: &[u8]) -> std::result::Result<Seal, String> {
        let text = String::from_utf8_lossy(block);
        let mut lines = text.lines();
        let found = lines.next().and_then(|line| line.strip_prefix(FORMAT)).map(str::trim);
        let found = found.ok_or_else(|| other_file(FileKind::of(block)))?;
        let version = found.parse().ok().filter(|version| READABLE.contains(version));
        let version = version.ok_or_else(|| wrong_version(found))?;
        let seal = (|| {
            let length = lines.next()?.strip_prefix("length ")?.parse().ok()?;
            let mut payloads = Vec::new();
            loop {
                let line = lines.next()?;
                if let Some(place) = line.strip_prefix("payload ") {
                    payloads.push(parse_range(place)?);
                } else {
                    let hash = blake3::Hash::from_hex(line.strip_prefix("blake3 ")?).ok()?;
                    return Some(Seal { version, length, payloads, hash });
                }
            }
        })();
        // accept only what this program writes
        seal.filter(|seal| seal.head().len() + 80 < SEAL_BYTES && seal.to_block() == block)
            .ok_or_else(|| format!("its first {SEAL_BYTES} bytes are damaged\n{REPACK}"))
    }
}

/// Adds the bytes in `range` to the hash.
fn hash_bytes(hasher: &mut blake3::Hasher, file: &mut File, range: Range<u64>) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(range.start))?;
    hasher.update_reader((&*file).take(range.end.saturating_sub(range.start)))?;
    Ok(())
}

/// A range given as offset and length.
fn parse_range(text: &str) -> Option<Range<u64>> {
    let (start, length) = text.split_once(' ')?;
    let start: u64 = start.parse().ok()?;
    Some(start..start.checked_add(length.parse().ok()?)?)
}

/// The reason for refusing a file that is not a pack.
fn other_file(kind: FileKind) -> String {
    let hint = match kind {
        FileKind::Hdf5 => "hint: this is an HDF5 file of another kind; `eqr-bench data pack` makes packs",
        _ => "hint: `eqr-bench data pack` makes packs out of folders and archives",
    };
    kind.instead_of(&format!("an {FORMAT} file"), hint)
}
