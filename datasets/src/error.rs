//! The error type. Messages say what is wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// All errors of this crate. The message includes the message of the cause, so `source()` returns none:
/// otherwise the cause would be printed twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// A member of a folder or archive cannot be used.
    #[error("{container}: member {member}: {reason}")]
    Member {
        /// Archive or folder.
        container: PathBuf,
        /// Path inside the container.
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
    /// An HDF5 call failed.
    #[error("{path}: HDF5: {cause}")]
    Hdf5 {
        /// The pack.
        path: PathBuf,
        /// HDF5's error.
        cause: hdf5::Error,
    },
    /// A published file cannot be downloaded.
    #[error("{url}: {reason}")]
    Fetch {
        /// Its address.
        url: String,
        /// What is wrong and how to go on.
        reason: String,
    },
    /// A value is out of range or inconsistent.
    #[error("{0}")]
    Invalid(String),
}

/// The result type of the crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an [`Error::Io`] at `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |cause| Error::Io { path, cause }
    }

    /// Makes an [`Error::Hdf5`] at `path`.
    pub fn hdf5(path: impl AsRef<Path>) -> impl FnOnce(hdf5::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |cause| Error::Hdf5 { path, cause }
    }

    /// Makes an [`Error::Member`] of `container`.
    pub fn member(container: impl AsRef<Path>, member: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        // a name with line feeds must not look like a message
        let member = member.as_ref().display().to_string().replace('\n', "\\n");
        Error::Member { container: container.as_ref().to_owned(), member, reason: reason.into() }
    }

    /// Makes an [`Error::Format`] at `path`.
    pub fn format(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_owned(), reason: reason.into() }
    }
}
