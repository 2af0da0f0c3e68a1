//! Wavefront meshes.
#![no_main]

use eqr_datasets::scene::obj;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = obj::parse(data);
});
