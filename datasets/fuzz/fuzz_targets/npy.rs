//! Latents in NumPy's format.
#![no_main]

use eqr_datasets::sources::read_latents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_latents(data);
});
