//! Listings for the tests of sources, made of paths and bytes.

use std::path::Path;

use super::plan::{Listing, Options};

/// What an input of these files lists, to a source that asks for the lists of `is_list`.
pub(super) fn listing(files: &[(&str, &[u8])], is_list: fn(&str) -> bool) -> Listing<'static> {
    let mut members: Vec<(String, u64)> =
        files.iter().map(|(path, bytes)| (path.to_string(), bytes.len() as u64)).collect();
    members.sort();
    let lists = files.iter().filter(|(path, _)| is_list(path));
    let lists = lists.map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
    Listing { input: Path::new("input"), members, lists }
}

/// A quarter of each class for the test split, where the source names none.
pub(super) fn options() -> Options {
    Options { name: None, test_fraction: 0.25, seed: 3 }
}

/// `start` cut short at every length, and with each byte changed in three ways: none may make `read` panic.
pub(super) fn damage(start: &[u8], read: impl Fn(&[u8])) {
    for end in 0..start.len() {
        read(&start[..end]);
    }
    let mut damaged = start.to_vec();
    for index in 0..start.len() {
        for change in [0x01, 0x80, 0xff] {
            damaged[index] ^= change;
            read(&damaged);
            damaged[index] ^= change;
        }
    }
}

/// A `.npy` file of version 1, as NumPy writes it.
pub(super) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_of(1, &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

/// A `.npy` file of any version and header.
pub(super) fn npy_of(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u32;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend_from_slice(&[version, 0]);
    bytes.extend_from_slice(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// Texts as NumPy stores them: UTF-32, each filled up with zeros to `length` characters.
pub(super) fn utf32(texts: &[&str], length: usize) -> Vec<u8> {
    let filled = |text: &str| text.chars().map(u32::from).chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>();
    texts.iter().flat_map(|text| filled(text)).flat_map(u32::to_le_bytes).collect()
}
