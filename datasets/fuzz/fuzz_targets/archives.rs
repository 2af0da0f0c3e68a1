//! Archives: members, nesting, names and declared sizes.
#![no_main]

use std::io::Read;

use eqr_datasets::archives::{IMAGE_BYTES, Selection, Tree, Visit};
use eqr_datasets_fuzz::write_input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = write_input(data);
    let Ok(mut tree) = Tree::open(path) else { return };
    let _ = tree.visit(&mut |path, size, reader: &mut dyn Read| {
        tree.read_member(path, size, reader, IMAGE_BYTES).map(|_| Visit::Continue)
    });
    let _ = tree.list(Selection { is_list: |path| path.len() % 2 == 0, is_sniffed: |_| true });
});
