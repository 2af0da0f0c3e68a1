//! Finding files by how their paths end: the folders above them differ with where INPUT points.

use super::members::member_error;
use super::plan::Listing;
use crate::error::Result;

/// Endings of archives, the longer ones first.
const ARCHIVES: [&str; 4] = [".tar.gz", ".tgz", ".tar", ".zip"];

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The last `N` parts of a path, in its order; nothing where it has fewer.
pub(super) fn last_parts<const N: usize>(path: &str) -> Option<[&str; N]> {
    let mut parts = [""; N];
    let mut from_the_end = path.rsplit('/');
    for part in parts.iter_mut().rev() {
        *part = from_the_end.next()?;
    }
    Some(parts)
}

/// A file's or folder's name without the ending that makes it an archive.
pub(super) fn without_archive_ending(name: &str) -> &str {
    ARCHIVES.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// A list of the source: its path and its bytes.
pub(super) type List<'a> = (&'a str, &'a [u8]);

/// The list whose path ends in the parts `suffix`; nothing where there is none.
///
/// # Errors
/// [`crate::Error::Member`] where there are two that differ: nothing says which one holds.
pub(super) fn find_list<'a>(listing: &'a Listing, suffix: &str) -> Result<Option<List<'a>>> {
    let is_it = |path: &str| path.strip_suffix(suffix).is_some_and(|head| head.is_empty() || head.ends_with('/'));
    let mut found = listing.lists.iter().filter(|(path, _)| is_it(path));
    let Some((path, bytes)) = found.next() else {
        return Ok(None);
    };
    match found.find(|(_, other)| *other != bytes) {
        None => Ok(Some((path.as_str(), bytes.as_slice()))),
        Some((other, _)) => {
            let reason = format!("differs from {path}, and only one of them can hold\nhint: point INPUT at one copy");
            Err(member_error(listing.input, other, reason))
        }
    }
}

/// The lines of a text, with either kind of line end and without the empty lines at its end.
///
/// # Errors
/// [`crate::Error::Member`] where the list is not UTF-8.
pub(super) fn lines<'a>(listing: &Listing, (path, bytes): List<'a>) -> Result<Vec<&'a str>> {
    let text = std::str::from_utf8(bytes).map_err(|_| member_error(listing.input, path, "expected UTF-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::listing;

    #[test]
    fn parts_are_counted_from_the_end() {
        assert_eq!(last_parts::<2>("a/b/c"), Some(["b", "c"]));
        assert_eq!(last_parts::<3>("b/c"), None);
        assert_eq!(file_name("c"), "c");
        assert_eq!(without_archive_ending("a.tar.gz"), "a");
        assert_eq!(without_archive_ending("v1.2"), "v1.2");
    }

    #[test]
    fn a_list_is_found_by_whole_parts_and_must_not_differ_from_its_copy() {
        let all = |_: &str| true;
        let one = listing(&[("top/data/x.txt", b"1"), ("top/data/y-x.txt", b"2")], all);
        assert_eq!(find_list(&one, "x.txt").unwrap(), Some(("top/data/x.txt", b"1".as_slice())));
        assert_eq!(find_list(&one, "z.txt").unwrap(), None);
        let same = listing(&[("a/x.txt", b"1"), ("b/x.txt", b"1")], all);
        assert!(find_list(&same, "x.txt").unwrap().is_some());
        let differing = listing(&[("a/x.txt", b"1"), ("b/x.txt", b"2")], all);
        assert!(find_list(&differing, "x.txt").unwrap_err().to_string().contains("b/x.txt: differs from a/x.txt"));
    }

    #[test]
    fn lines_lose_carriage_returns_the_byte_order_mark_and_the_empty_end() {
        let empty = listing(&[], |_| true);
        let text = "\u{feff}one\r\n\r\nzwei ä\n\r\n\n".as_bytes();
        assert_eq!(lines(&empty, ("x.txt", text)).unwrap(), ["one", "", "zwei ä"]);
        assert!(lines(&empty, ("x.txt", b"\xff\n")).unwrap_err().to_string().contains("x.txt: expected UTF-8"));
    }
}
