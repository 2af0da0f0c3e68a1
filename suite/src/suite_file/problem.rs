//! What is wrong with a key of a suite.

use std::fmt::Display;

use crate::suite_file::key_path::KeyPath;

/// A mistake in a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, or the section that lacks one.
    pub key: KeyPath,
    /// What is wrong and what to do. It names the key, but not where the key stands.
    pub message: String,
}

impl Problem {
    /// A problem of `key`.
    pub fn new(key: impl Into<KeyPath>, message: impl Into<String>) -> Self {
        Problem { key: key.into(), message: message.into() }
    }
}

/// The problems that are found in one pass.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a problem of `key` unless `valid`.
    pub fn ensure(&mut self, valid: bool, key: impl Into<KeyPath>, message: impl FnOnce() -> String) {
        if !valid {
            self.0.push(Problem::new(key, message()));
        }
    }

    /// Adds the error of `outcome`, if it is one, as a problem of `key`; `place` precedes it.
    pub fn check<E: Into<anyhow::Error>>(
        &mut self,
        outcome: Result<(), E>,
        key: impl Into<KeyPath>,
        place: impl Display,
    ) {
        if let Err(error) = outcome {
            let error: anyhow::Error = error.into();
            self.0.push(Problem::new(key, format!("{place}{error:#}")));
        }
    }
}
