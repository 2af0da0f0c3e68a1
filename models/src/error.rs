//! The error type of the crate.

/// An error in a model, a method or a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid configuration value.
    #[error("{0}")]
    Invalid(String),
    /// A checkpoint whose names or shapes do not match this model.
    #[error("checkpoint does not fit this model: {0}")]
    Mismatch(String),
    /// An error from libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
