//! Test listings, made of paths and bytes.

use std::path::Path;

use super::listing::Listing;
use super::member_path::has_image_ending;
use super::source::Options;
use crate::file_kind::FileKind;

/// The listing of an input with these files. `is_list` selects the list files, as in a source.
pub(super) fn listing(files: &[(&str, &[u8])], is_list: fn(&str) -> bool) -> Listing<'static> {
    let mut members: Vec<(String, u64)> =
        files.iter().map(|(path, bytes)| (path.to_string(), bytes.len() as u64)).collect();
    members.sort();
    let lists = files.iter().filter(|(path, _)| is_list(path));
    let lists = lists.map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
    let kinds = files.iter().filter(|(path, _)| !has_image_ending(path));
    let kinds = kinds.map(|(path, bytes)| (path.to_string(), FileKind::of(bytes))).collect();
    Listing { input: Path::new("input"), members, lists, kinds }
}

/// Options for sources without splits: a quarter of each class is the test split.
pub(super) fn options() -> Options {
    Options { name: None, test_fraction: 0.25, seed: 3 }
}
