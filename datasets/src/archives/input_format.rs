//! The formats of an input.

use crate::file_kind::FileKind;

/// Size of an empty tar in bytes, as tar pads it.
pub(super) const EMPTY_TAR_BYTES: u64 = 10 << 10;

/// The format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputFormat {
    Folder,
    Tar,
    Gzip,
    Zip,
}

impl InputFormat {
    /// The format of an archive of this kind, if it is one. A tar without members begins with zeros.
    pub fn of(kind: FileKind) -> Option<InputFormat> {
        match kind {
            FileKind::Gzip => Some(InputFormat::Gzip),
            FileKind::Zip | FileKind::TorchZip | FileKind::NumpyZip | FileKind::OfficeDocument => {
                Some(InputFormat::Zip)
            }
            FileKind::Tar | FileKind::Zeros => Some(InputFormat::Tar),
            _ => None,
        }
    }
}
