//! Detecting the archive format from the first bytes.

use std::fs::File;
use std::io;
use std::path::Path;

use tar::Header;

use super::stream::peek;

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputFormat {
    Folder,
    Tar,
    Gzip,
    Zip,
}

impl InputFormat {
    /// The format of the archive at `path`, if it is one.
    pub fn read(path: &Path) -> io::Result<Option<InputFormat>> {
        Ok(InputFormat::from_head(&peek(File::open(path)?)?.0))
    }

    /// The format of an archive that starts with `head`.
    pub fn from_head(head: &[u8]) -> Option<InputFormat> {
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(InputFormat::Gzip)
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(InputFormat::Zip)
        } else if is_tar(head) {
            Some(InputFormat::Tar)
        } else {
            None
        }
    }
}

/// Whether `head` is a tar header with a valid checksum, or the end mark of an empty tar. Tars older than
/// POSIX have no magic bytes, so only the checksum identifies them.
fn is_tar(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(head) else { return false };
    let (before, after) = (&block[..148], &block[156..]);
    // the eight bytes of the checksum count as spaces
    let sum = before.iter().chain(after).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    header.cksum().is_ok_and(|declared| declared == sum) || block.iter().all(|&byte| byte == 0)
}
