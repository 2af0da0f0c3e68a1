//! The text lists of an official layout: found by the end of their path, read line by line.

use std::collections::HashMap;
use std::path::Path;

use super::plan::Listing;
use crate::error::{Error, Result};

/// A file that [`super::plan::Source::is_list`] asked for.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    container: &'a Path,
    /// Path inside the input.
    pub path: &'a str,
    /// The file.
    pub bytes: &'a [u8],
}

/// A line that is not blank, without its end and the space around it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// As an editor counts it, from 1.
    pub number: usize,
    pub text: &'a str,
}

/// Class names in the order of their labels.
pub(super) struct Classes<'a> {
    /// Names; labels index it.
    pub names: Vec<&'a str>,
    labels: HashMap<&'a str, i32>,
}

/// Whether `path` is `end` or ends in it below some folders: `a/meta/train.txt` in `meta/train.txt`, but not in
/// `eta/train.txt`.
pub(super) fn ends_in(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// The list whose path ends in `end`, nothing where there is none. Equal copies count as one: ClassName.txt of SUN397
/// comes with the images and with the partitions.
///
/// # Errors
/// [`Error::Format`] for two lists that differ.
pub(super) fn find<'a>(listing: &'a Listing, end: &str) -> Result<Option<List<'a>>> {
    let mut found = listing.lists.iter().filter(|(path, _)| ends_in(path, end));
    let Some((path, bytes)) = found.next() else { return Ok(None) };
    match found.find(|(_, other)| *other != bytes) {
        None => Ok(Some(List { container: listing.input, path, bytes })),
        Some((other, _)) => {
            let reason = format!("expected one {end}, found two that differ: {path} and {other}");
            Err(Error::format(listing.input, format!("{reason}\nhint: point INPUT at the folder or archive to use")))
        }
    }
}

/// The list whose path ends in `end`.
///
/// # Errors
/// [`Error::Format`] where there is none, or two that differ.
pub(super) fn require<'a>(listing: &'a Listing, end: &str) -> Result<List<'a>> {
    find(listing, end)?.ok_or_else(|| {
        let hint = "hint: `eqr-bench data list` shows what INPUT must hold";
        Error::format(listing.input, format!("expected a file {end}, found none\n{hint}"))
    })
}

impl<'a> List<'a> {
    /// An error about the list as a whole.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        Error::member(self.container, self.path, reason)
    }

    /// An error about a line.
    pub fn error_at(&self, line: usize, reason: impl std::fmt::Display) -> Error {
        self.error(format!("line {line}: {reason}"))
    }

    /// The lines that are not blank; at least one.
    pub fn lines(&self) -> Result<Vec<Line<'a>>> {
        const MARK: &[u8] = b"\xef\xbb\xbf"; // what some editors put before UTF-8
        let bytes = self.bytes.strip_prefix(MARK).unwrap_or(self.bytes);
        let mut lines = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let text = std::str::from_utf8(line).map_err(|_| self.error_at(number, "expected UTF-8 text"))?.trim();
            if !text.is_empty() {
                lines.push(Line { number, text });
            }
        }
        if lines.is_empty() {
            return Err(self.error("expected at least one line, found none"));
        }
        Ok(lines)
    }

    /// The lines as class names.
    pub fn classes(&self) -> Result<Classes<'a>> {
        let mut classes = Classes { names: Vec::new(), labels: HashMap::new() };
        for Line { number, text } in self.lines()? {
            if classes.labels.insert(text, classes.names.len() as i32).is_some() {
                return Err(self.error_at(number, format!("the class {text} stands in this list twice")));
            }
            classes.names.push(text);
        }
        Ok(classes)
    }
}

impl<'a> Classes<'a> {
    /// Label of the class `name`.
    pub fn label(&self, name: &str) -> std::result::Result<i32, String> {
        self.labels.get(name).copied().ok_or_else(|| format!("the class {name:?} is not in the list of classes"))
    }

    /// Names as a plan holds them.
    pub fn to_names(&self) -> Vec<String> {
        self.names.iter().map(|name| name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> List<'_> {
        List { container: Path::new("in"), path: "meta/classes.txt", bytes }
    }

    #[test]
    fn lines_lose_their_ends_and_keep_their_numbers() {
        let bytes = "\u{feff}one\r\n\r\n  two words \n\nthree ü".as_bytes();
        let lines: Vec<(usize, &str)> =
            list(bytes).lines().unwrap().iter().map(|line| (line.number, line.text)).collect();
        assert_eq!(lines, [(1, "one"), (3, "two words"), (5, "three ü")]);
    }

    #[test]
    fn a_list_without_text_is_refused_by_name_and_line() {
        let message = |bytes: &[u8]| list(bytes).lines().err().unwrap().to_string();
        assert_eq!(message(b"a\nb\xff\n"), "in: member meta/classes.txt: line 2: expected UTF-8 text");
        assert!(message(b" \r\n\n").contains("expected at least one line"));
    }

    #[test]
    fn a_class_stands_in_its_list_once() {
        let message = list(b"a\nb\na\n").classes().err().unwrap().to_string();
        assert!(message.contains("line 3") && message.contains("class a"), "{message}");
        let bytes = b"b\na\n";
        let classes = list(bytes).classes().unwrap();
        assert_eq!((classes.label("b"), classes.label("a")), (Ok(0), Ok(1)));
        assert!(classes.label("c").unwrap_err().contains("\"c\""));
    }

    #[test]
    fn the_end_of_a_path_begins_at_a_folder() {
        assert!(ends_in("meta/train.txt", "meta/train.txt") && ends_in("x/y/meta/train.txt", "meta/train.txt"));
        assert!(!ends_in("x/y/some-meta/train.txt", "meta/train.txt") && !ends_in("meta/train.txt.bak", "train.txt"));
    }
}
