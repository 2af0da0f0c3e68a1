//! Readers that count, limit or hash what passes through them.

use std::io::{self, Cursor, Read};

/// Bytes by which an archive is recognised: the first header of a tar.
const HEAD: u64 = 512;

/// The first bytes of `from`, and all of it.
pub(super) fn peek<R: Read>(mut from: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    from.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(from)))
}

/// Reads to the end, past which checksums stand.
pub(super) fn drain(mut from: impl Read) -> io::Result<()> {
    io::copy(&mut from, &mut io::sink()).map(|_| ())
}

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R> Hashing<R> {
    /// Hashes what is read from `inner`.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// The hash of what was read.
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

/// Fails where more than `left` bytes come, in place of ending as [`Read::take`] does.
pub(super) struct Limited<R> {
    /// What is read.
    pub inner: R,
    /// Bytes that may still come.
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
            None => Err(io::Error::other("it unpacks to more than is allowed of an archive inside another")),
        }
    }
}
