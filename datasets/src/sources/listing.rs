//! The files of an input, before any image is read.

use std::collections::BTreeMap;
use std::path::Path;

use super::member_path::{ends_in, has_image_ending};
use crate::error::{Error, Result};
use crate::file_kind::FileKind;
use crate::formats::text_list::TextList;

/// The members of an input, and the contents of its list files.
pub struct Listing<'a> {
    /// The folder or archive, for error messages.
    pub input: &'a Path,
    /// Path and size of every regular file, sorted by path. Path components are joined by `/`. An archive
    /// inside the input counts as a folder, as in `n01440764.tar/n01440764_18.JPEG`.
    pub members: Vec<(String, u64)>,
    /// The files selected by [`super::Source::is_list`], by path.
    pub lists: BTreeMap<String, Vec<u8>>,
    /// The kinds of the files selected by [`super::Source::is_sniffed`], by path.
    pub kinds: BTreeMap<String, FileKind>,
}

impl Listing<'_> {
    /// The paths of all members, sorted.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(path, _)| path.as_str())
    }

    /// Whether the member is to be packed as an image: by its content, or because its name says so. In the
    /// second case it is an error if it is none.
    pub(super) fn is_image(&self, path: &str) -> bool {
        has_image_ending(path) || self.kinds.get(path).is_some_and(|kind| kind.is_readable_image())
    }

    /// The list whose path ends in `end`, if there is one. Identical copies count as one: SUN397's
    /// ClassName.txt comes with the images and with the partitions.
    ///
    /// # Errors
    /// [`Error::Format`] if there are two lists that differ.
    pub(super) fn find_list(&self, end: &str) -> Result<Option<TextList<'_>>> {
        let mut found = self.lists.iter().filter(|(path, _)| ends_in(path, end));
        let Some((path, bytes)) = found.next() else { return Ok(None) };
        match found.find(|(_, other)| *other != bytes) {
            None => Ok(Some(TextList { container: self.input, path, bytes })),
            Some((other, _)) => {
                let reason = format!("expected one {end}, found two that differ: {path} and {other}");
                let hint = "hint: point INPUT at the folder or archive to use";
                Err(Error::format(self.input, format!("{reason}\n{hint}")))
            }
        }
    }

    /// The list whose path ends in `end`.
    ///
    /// # Errors
    /// [`Error::Format`] if there is none, or two that differ.
    pub(super) fn require_list(&self, end: &str) -> Result<TextList<'_>> {
        self.find_list(end)?.ok_or_else(|| {
            let hint = "hint: `eqr-bench data list` shows what INPUT must contain";
            Error::format(self.input, format!("expected a file {end}, found none\n{hint}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::listing;

    #[test]
    fn a_list_is_found_by_the_end_of_its_path_and_equal_copies_are_one() {
        let listing =
            listing(&[("a/x.txt", b"1"), ("b/x.txt", b"1"), ("a/y.txt", b"1"), ("b/y.txt", b"2")], |_| true);
        assert_eq!(listing.find_list("x.txt").unwrap().unwrap().path, "a/x.txt");
        assert!(listing.find_list("z.txt").unwrap().is_none());
        let error = listing.find_list("y.txt").err().unwrap().to_string();
        assert!(error.contains("two that differ: a/y.txt and b/y.txt"), "{error}");
        assert!(listing.require_list("z.txt").err().unwrap().to_string().contains("expected a file z.txt"));
    }
}
