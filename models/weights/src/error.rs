//! The error type. Messages say what is wrong and what to do.

/// All errors of this crate. The caller adds the path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The pickle names something that no tensor needs.
    #[error(
        "the pickle names `{0}`, which parameters do not need; it is refused, and nothing of the file was run\n\
         hint: only if you trust its author, load it in Python and save the parameters alone: \
         torch.save(model.state_dict(), \"encoder.pth\")"
    )]
    Refused(String),
    /// The bytes are not what they should be.
    #[error("byte {at} of the pickle: {reason}")]
    Pickle {
        /// Position of the instruction.
        at: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// The file is of a known form that this crate does not read, or is damaged.
    #[error("{0}")]
    Form(String),
}

/// The result type of the crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn form<T>(reason: impl Into<String>) -> Result<T> {
        Err(Error::Form(reason.into()))
    }
}
