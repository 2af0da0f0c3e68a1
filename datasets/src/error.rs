//! The crate's error: what, where, and what to do.

use std::path::{Path, PathBuf};

/// Anything that can go wrong between a file and a batch. Each message is whole in itself: what the system or HDF5 said stands in it, and is
/// no further link of a chain, which would say it twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A member of a folder or archive cannot be used.
    #[error("{container}: member {member}: {reason}")]
    Member {
        /// Archive or folder.
        container: PathBuf,
        /// Path inside it.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pack, mesh or source tree does not have the expected form.
    #[error("{path}: {reason}")]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// HDF5 refused.
    #[error("{path}: HDF5: {cause}")]
    Hdf5 {
        /// The pack.
        path: PathBuf,
        /// What HDF5 said.
        cause: hdf5::Error,
    },
    /// A value outside its range.
    #[error("{0}")]
    Invalid(String),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |cause| Error::Io { path, cause }
    }

    /// An [`Error::Hdf5`] at `path`.
    pub fn hdf5(path: impl AsRef<Path>) -> impl FnOnce(hdf5::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |cause| Error::Hdf5 { path, cause }
    }

    /// An [`Error::Member`] of `container`.
    pub fn member(container: impl AsRef<Path>, member: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        let member = member.as_ref().display().to_string();
        Error::Member { container: container.as_ref().to_owned(), member, reason: reason.into() }
    }

    /// An [`Error::Format`] at `path`.
    pub fn format(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_owned(), reason: reason.into() }
    }
}
