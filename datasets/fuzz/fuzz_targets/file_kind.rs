//! Any bytes: what kind of file they are.
#![no_main]

use eqr_datasets::file_kind::{FileKind, HEAD};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let kind = FileKind::of(data);
    assert_eq!(kind, FileKind::of(&data[..data.len().min(HEAD)]), "only the head counts");
    assert!(kind.instead_of("a pack", "hint: pack it").contains("\nhint: "));
});
