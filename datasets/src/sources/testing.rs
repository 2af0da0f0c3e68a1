//! Listings for the tests of sources, made of paths and bytes.

use std::path::Path;

use super::listing::Listing;
use super::source::Options;

/// The listing of an input with these files, for a source whose lists are given by `is_list`.
pub(super) fn listing(files: &[(&str, &[u8])], is_list: fn(&str) -> bool) -> Listing<'static> {
    let mut members: Vec<(String, u64)> =
        files.iter().map(|(path, bytes)| (path.to_string(), bytes.len() as u64)).collect();
    members.sort();
    let lists = files.iter().filter(|(path, _)| is_list(path));
    let lists = lists.map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
    Listing { input: Path::new("input"), members, lists }
}

/// A test split of a quarter of each class, for sources without splits.
pub(super) fn options() -> Options {
    Options { name: None, test_fraction: 0.25, seed: 3 }
}
