//! Parts of paths, counted from their end: the folders above differ with where INPUT points.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_the_end() {
        assert_eq!(last_parts::<2>("a/b/c"), Some(["b", "c"]));
        assert_eq!(last_parts::<3>("b/c"), None);
        assert_eq!(file_name("c"), "c");
        assert_eq!(without_archive_ending("a.tar.gz"), "a");
        assert_eq!(without_archive_ending("v1.2"), "v1.2");
    }
}
