//! Words of a process in which another thread hangs, maybe with a lock: of the allocator, of stderr, or any
//! other.

use std::fmt::{self, Arguments, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;

use arrayvec::ArrayString;

/// A text that was made without an allocation. What does not fit is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sentence(ArrayString<512>);

impl Sentence {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Sentence {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| self.0.try_push(character)).map_err(|_| fmt::Error)
    }
}

/// Writes a sentence.
pub fn sentence(text: Arguments) -> Sentence {
    let mut written = Sentence::default();
    let _ = written.write_fmt(text);
    written
}

/// Prints a line to stderr, without a lock and at once. Its names must be free of control characters.
pub fn say_urgently(text: Arguments) {
    let mut line = ArrayString::<1024>::from(sentence(text).as_str()).unwrap_or_default();
    line.push('\n');
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let _ = stderr.and_then(|stderr| File::from(stderr).write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_cut() {
        let short = sentence(format_args!("{} of {}", 1, 2));
        assert_eq!(short.as_str(), "1 of 2");
        let long = sentence(format_args!("{}{}", "a".repeat(501), "é".repeat(20)));
        assert_eq!(long.as_str(), "a".repeat(501) + &"é".repeat(5));
    }
}
