//! Class folders and splits: a member in each line, with what it is.
#![no_main]

use eqr_datasets_fuzz::placed::every_image_has_one_place;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    every_image_has_one_place(text);
});
