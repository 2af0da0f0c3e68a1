//! Text files with one entry per line.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file_kind::FileKind;

/// A text file inside an input.
#[derive(Clone, Copy)]
pub(crate) struct TextList<'a> {
    /// The folder or archive, for error messages.
    pub container: &'a Path,
    /// Path inside the input.
    pub path: &'a str,
    /// The content.
    pub bytes: &'a [u8],
}

/// A line that is not blank, without the line ending and surrounding white space.
#[derive(Clone, Copy)]
pub(crate) struct TextLine<'a> {
    /// Line number, from 1. Blank lines count.
    pub number: usize,
    pub text: &'a str,
}

/// Class names in label order.
pub(crate) struct ClassList<'a> {
    /// Names, indexed by label.
    pub names: Vec<&'a str>,
    labels: HashMap<&'a str, i32>,
}

impl<'a> TextList<'a> {
    /// An error about the whole list.
    pub fn error(&self, reason: impl Into<String>) -> Error {
        Error::member(self.container, self.path, reason)
    }

    /// An error about a line.
    pub fn error_at(&self, line: usize, reason: impl std::fmt::Display) -> Error {
        self.error(format!("line {line}: {reason}"))
    }

    /// The lines that are not blank.
    ///
    /// # Errors
    /// [`Error::Member`] if all lines are blank, or if a line is not UTF-8.
    pub fn lines(&self) -> Result<Vec<TextLine<'a>>> {
        let kind = FileKind::of(self.bytes);
        let other_file = || self.error(kind.instead_of("a list as UTF-8 text", "hint: save it as UTF-8"));
        if kind.is_stand_in() && kind != FileKind::Empty {
            return Err(other_file());
        }
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let bytes = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.bytes);
        let mut lines = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let text = std::str::from_utf8(line).map_err(|_| match kind {
                FileKind::Text => self.error_at(number, "expected UTF-8 text\nhint: save it as UTF-8"),
                _ => other_file(),
            })?;
            let text = text.trim();
            if !text.is_empty() {
                lines.push(TextLine { number, text });
            }
        }
        if lines.is_empty() {
            return Err(self.error("expected at least one line, found none"));
        }
        Ok(lines)
    }

    /// The lines as class names.
    pub fn classes(&self) -> Result<ClassList<'a>> {
        let mut classes = ClassList { names: Vec::new(), labels: HashMap::new() };
        for TextLine { number, text } in self.lines()? {
            if classes.labels.insert(text, classes.names.len() as i32).is_some() {
                return Err(self.error_at(number, format!("the class {text} is listed twice")));
            }
            classes.names.push(text);
        }
        Ok(classes)
    }
}

impl ClassList<'_> {
    /// Label of the class `name`.
    pub fn label(&self, name: &str) -> std::result::Result<i32, String> {
        self.labels
            .get(name)
            .copied()
            .ok_or_else(|| format!("the class {name:?} is not in the list of classes"))
    }

    /// The names as owned strings.
    pub fn to_names(&self) -> Vec<String> {
        self.names.iter().map(|name| name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> TextList<'_> {
        TextList { container: Path::new("in"), path: "meta/classes.txt", bytes }
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
        let latin = message(b"a\nb\xff\n");
        assert!(latin.starts_with("in: member meta/classes.txt: line 2: expected UTF-8 text\n"), "{latin}");
        let pointer = message(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
        assert!(pointer.contains("expected a list as UTF-8 text, found a Git LFS pointer"), "{pointer}");
        assert!(message(b"\x1f\x8b\x08\0\xff\n").contains("found a gzip-compressed file"));
        assert!(message(b" \r\n\n").contains("expected at least one line"));
    }

    #[test]
    fn a_class_is_in_its_list_once() {
        let message = list(b"a\nb\na\n").classes().err().unwrap().to_string();
        assert!(message.contains("line 3") && message.contains("class a"), "{message}");
        let bytes = b"b\na\n";
        let classes = list(bytes).classes().unwrap();
        assert_eq!((classes.label("b"), classes.label("a")), (Ok(0), Ok(1)));
        assert!(classes.label("c").unwrap_err().contains("\"c\""));
    }
}
