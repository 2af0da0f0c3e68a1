//! How a command ends when it does not end well.

/// An error with the exit code that scripts rely on: 2 usage or bad input, 3 run failed.
#[derive(Debug)]
pub struct Failure {
    /// What, where, and what to do.
    pub error: anyhow::Error,
    /// Exit code.
    pub code: i32,
    /// Whether every rank knows of it; one that only this rank knows must end the others.
    pub agreed: bool,
}

/// Usage or bad input.
pub const BAD_INPUT: i32 = 2;
/// The run failed.
pub const RUN_FAILED: i32 = 3;

impl Failure {
    /// Bad input that every rank sees alike.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: BAD_INPUT, agreed: true }
    }

    /// A failure of this rank in the middle of the work.
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Failure { error: error.into(), code: RUN_FAILED, agreed: false }
    }

    /// The message as a person reads it: `error: ...`, causes joined by colons, hints on lines of their own.
    pub fn message(&self) -> String {
        let text = format!("{:#}", self.error);
        format!("error: {}", text.trim_end())
    }
}

/// A command's result.
pub type Outcome<T> = Result<T, Failure>;
