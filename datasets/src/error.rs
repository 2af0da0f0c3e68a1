//! The error type: what is wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// Any error between a file and a batch. The message includes the message of the cause, so `source()` is
/// empty: otherwise the cause would be printed twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// A member of a folder or archive cannot be used.
    #[error("{container}: member {member}: {reason}")]
    Member {
        /// Archive or folder.
        container: PathBuf,
        /// Path inside it.
        member: String,
        /// What is wrong with the member.
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
    /// HDF5 failed.
    #[error("{path}: HDF5: {cause}")]
    Hdf5 {
        /// The pack.
        path: PathBuf,
        /// The error of HDF5.
        cause: hdf5::Error,
    },
    /// A value outside its range.
    #[error("{0}")]
    Invalid(String),
}

/// The result type of the crate.
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
