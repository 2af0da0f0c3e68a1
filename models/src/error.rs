//! The crate's error.

/// What can be wrong with a model, a method or a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that no model can be built from.
    #[error("{0}")]
    Invalid(String),
    /// A checkpoint whose names or shapes are not this model's.
    #[error("checkpoint does not fit this model: {0}")]
    Mismatch(String),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
