//! Where a folder or an archive is inside the input.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The hint for errors about members of archives.
pub(super) const UNPACK: &str = "hint: unpack the archive and give the folder";

/// Whether a visitor wants to see more members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Continue with the next member.
    Continue,
    /// Stop here.
    Stop,
}

/// Called with the path, the size in bytes and the content of each file.
pub type Visitor<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<Visit> + 'a;

/// A folder or archive inside the input.
pub(super) struct Place<'a> {
    /// The folder or archive that the user gave.
    pub input: &'a Path,
    /// Path inside the input; empty for the input itself.
    pub path: String,
    /// Number of archives that enclose the files here.
    pub depth: usize,
}

impl<'a> Place<'a> {
    /// The path of `member`.
    pub fn join(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}/{member}", self.path) }
    }

    /// The folder or archive for a message.
    pub fn name(&self) -> String {
        let input = self.input.display();
        if self.path.is_empty() { input.to_string() } else { format!("{input}: {}", self.path) }
    }

    /// The nested archive `member`.
    pub fn archive(&self, member: &str) -> Place<'a> {
        Place { input: self.input, path: self.join(member), depth: self.depth + 1 }
    }

    /// An error about `member`.
    pub fn member_error(&self, member: &str, reason: impl Into<String>) -> Error {
        Error::member(self.input, self.join(member), reason)
    }

    /// An error about this folder or archive.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        match self.path.as_str() {
            "" => Error::format(self.input, reason),
            member => Error::member(self.input, member, reason),
        }
    }

    /// An error for this archive, which is truncated or damaged.
    pub fn damaged(&self, cause: impl Display) -> Error {
        self.error(format!("the archive is truncated or damaged: {cause}\nhint: copy or download it again"))
    }
}
