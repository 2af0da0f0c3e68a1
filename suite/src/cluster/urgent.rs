//! Words of a process in which another thread hangs, maybe with a lock: of the allocator, of stderr, or any
//! other.

use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;

use arrayvec::ArrayString;

/// A text that was made without an allocation. What does not fit is left out.
pub type Sentence = ArrayString<512>;

/// Writes a sentence.
pub fn sentence(text: Arguments) -> Sentence {
    let mut written = Sentence::new();
    let _ = written.write_fmt(text);
    written
}

/// Prints a line to stderr, without a lock and at once. Its names must be free of control characters.
pub fn say_urgently(text: Arguments) {
    let mut line = sentence(text);
    line.truncate(line.len().min(line.capacity() - 1));
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
        let long = sentence(format_args!("{}{}", "a".repeat(500), "b".repeat(20)));
        assert!(long.len() <= 512 && long.starts_with("aaa"), "{long}");
    }
}
