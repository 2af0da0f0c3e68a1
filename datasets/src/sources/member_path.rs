//! Helpers for the paths of members. Paths are matched from the end, because the parent folders depend on
//! where INPUT points.

use std::borrow::Cow;
use std::path::Path;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::archives::ARCHIVE_ENDINGS;

/// Endings of the images that the program reads, in lower case.
const IMAGE_ENDINGS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "bmp", "dib", "webp", "tif", "tiff"];

/// The last component of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The last `N` components of a path, in order; `None` if it has fewer.
pub(super) fn last_components<const N: usize>(path: &str) -> Option<[&str; N]> {
    let mut components = [""; N];
    let mut from_the_end = path.rsplit('/');
    for component in components.iter_mut().rev() {
        *component = from_the_end.next()?;
    }
    Some(components)
}

/// Whether the last components of `path` are those of `end`: `a/meta/train.txt` ends in `meta/train.txt`, but
/// not in `eta/train.txt`.
pub(super) fn ends_in(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// The name of a file or folder without its archive ending.
pub(super) fn without_archive_ending(name: &str) -> &str {
    ARCHIVE_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The name of the input without an archive ending. For `.`, the name of the folder.
pub(super) fn input_name(input: &Path) -> String {
    let whole = input.canonicalize().unwrap_or_else(|_| input.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    without_archive_ending(&name).to_owned()
}

/// Whether the name has the ending of an image that the program reads. Hidden files are not images.
pub(super) fn has_image_ending(path: &str) -> bool {
    let path = Path::new(path);
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    !hidden && ending.is_some_and(|ending| IMAGE_ENDINGS.contains(&ending.as_str()))
}

/// A name with composed letters. macOS decomposes the letters of file names; both forms are the same name.
pub(super) fn composed(name: &str) -> Cow<'_, str> {
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => Cow::Borrowed(name),
        _ => Cow::Owned(name.nfc().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_counted_from_the_end() {
        assert_eq!(last_components::<2>("a/b/c"), Some(["b", "c"]));
        assert_eq!(last_components::<3>("b/c"), None);
        assert_eq!(file_name("c"), "c");
        assert_eq!(without_archive_ending("a.tar.gz"), "a");
        assert_eq!(without_archive_ending("v1.2"), "v1.2");
        assert_eq!(input_name(Path::new("no/such/tiny set.tar.gz")), "tiny set");
        assert_eq!(input_name(Path::new("no/such/v1.2")), "v1.2");
    }

    #[test]
    fn the_end_of_a_path_begins_at_a_folder() {
        assert!(
            ends_in("meta/train.txt", "meta/train.txt") && ends_in("x/y/meta/train.txt", "meta/train.txt")
        );
        assert!(!ends_in("x/y/some-meta/train.txt", "meta/train.txt"));
        assert!(!ends_in("meta/train.txt.bak", "train.txt"));
    }

    #[test]
    fn images_have_an_ending() {
        assert!(has_image_ending("a/b.JPEG") && has_image_ending("b.webp"));
        assert!(!has_image_ending("a/.b.png") && !has_image_ending("a/b.txt") && !has_image_ending("png"));
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same_name() {
        assert_eq!(composed("cafe\u{301}"), "caf\u{e9}");
        assert!(matches!(composed("café"), Cow::Borrowed("café")));
    }
}
