//! Readers that count, limit or hash the bytes read through them.

use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::GzDecoder;

use crate::file_kind::{FileKind, HEAD};

/// The kind of the content of `from`, and a reader that yields all bytes, including the first.
pub(super) fn peek<R: Read>(mut from: R) -> io::Result<(FileKind, impl Read)> {
    let mut head = Vec::new();
    from.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok((FileKind::of(&head), Cursor::new(head).chain(from)))
}

/// Why a member has no content, such as a link in a tar.
#[derive(Debug)]
struct NoContent(String);

impl std::fmt::Display for NoContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoContent {}

/// The reader of a member without content. Every read fails with the reason.
pub(super) struct Unreadable(pub String);

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(NoContent(self.0.clone())))
    }
}

/// Why reading a member failed.
pub(super) fn reason(error: &io::Error) -> String {
    if error.get_ref().is_some_and(|cause| cause.is::<NoContent>()) {
        error.to_string()
    } else if error.raw_os_error().is_some() {
        format!("cannot be read: {error}")
    } else {
        format!("truncated or damaged: {error}")
    }
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

/// The unpacked bytes of a gzip file. As for gzip and Python, it may have several parts, and zeros after its
/// end, as tapes and some servers pad their files.
pub(super) struct Gunzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Gunzip<R> {
    /// Wraps the packed bytes.
    pub(super) fn new(packed: R) -> Self {
        Self(Some(GzDecoder::new(packed)))
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(part) = &mut self.0 {
            let read = part.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut packed = self.0.take().expect("a part").into_inner();
            let zeros = skip_zeros(&mut packed)?;
            let at_end = packed.fill_buf()?.is_empty();
            if zeros > 0 && !at_end {
                return Err(io::Error::other("after its end come zeros, and then other bytes"));
            }
            self.0 = (!at_end).then(|| GzDecoder::new(packed));
        }
        Ok(0)
    }
}

/// Reads the zeros that come next, and returns their number.
fn skip_zeros(from: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = from.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let more = zeros > 0 && zeros == bytes.len();
        from.consume(zeros);
        skipped += zeros as u64;
        if !more {
            return Ok(skipped);
        }
    }
}
