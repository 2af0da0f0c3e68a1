//! How the caller follows a download.

/// What is being done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its bytes are coming.
    Downloading,
    /// Its checksum is being taken.
    Checking,
}

/// Hears of a download.
pub trait Watch {
    /// `done` of `all` bytes are done; `all` may be unknown.
    fn at(&self, step: Step, done: u64, all: Option<u64>);

    /// Something that the user should know.
    fn say(&self, text: &str);
}
