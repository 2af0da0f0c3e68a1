//! Batches of CIFAR's python version.
#![no_main]

use eqr_datasets::sources::{CIFAR10, CIFAR100};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for source in [&CIFAR10, &CIFAR100] {
        let records = source.records.expect("CIFAR has several images a member");
        let _ = records("data_batch_1", data);
    }
});
