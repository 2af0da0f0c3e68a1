//! Packs of any bytes. HDF5 opens them only if the seal is valid.
#![no_main]

use eqr_datasets::{Pack, pack};
use eqr_datasets_fuzz::write_input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = write_input(data);
    let _ = Pack::open(path);
    let _ = pack::verify(path);
});
