//! Readers that count, limit or hash the bytes read through them.

use std::io::{self, Cursor, Read};

/// Number of bytes needed to detect the archive format: the first header of a tar.
const HEAD: u64 = 512;

/// The first bytes of `from`, and a reader that yields all bytes, including these.
pub(super) fn peek<R: Read>(mut from: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    from.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(from)))
}

/// Reads to the end, which also verifies the checksums stored there.
pub(super) fn drain(mut from: impl Read) -> io::Result<()> {
    io::copy(&mut from, &mut io::sink()).map(|_| ())
}

/// A reader that hashes the bytes read through it.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R> Hashing<R> {
    /// Wraps `inner` in a hashing reader.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// The hash of the bytes read so far.
    pub(super) fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// A reader that returns an error after more than `left` bytes. [`Read::take`] would just end.
pub(super) struct Limited<R> {
    /// The source.
    pub inner: R,
    /// Bytes that may still be read.
    pub left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(io::Error::other("it unpacks to more bytes than a nested archive may have")),
        }
    }
}
