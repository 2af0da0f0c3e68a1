//! Masks.
#![no_main]

use eqr_datasets::images::decode::decode_mask;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode_mask(data);
});
