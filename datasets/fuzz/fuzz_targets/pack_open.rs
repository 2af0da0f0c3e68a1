//! Packs: the seal, behind which HDF5 is opened only where its checksum holds.
#![no_main]

use eqr_datasets::{Pack, pack};
use eqr_datasets_fuzz::file_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = file_of(data);
    let _ = Pack::open(path);
    let _ = pack::verify(path);
});
