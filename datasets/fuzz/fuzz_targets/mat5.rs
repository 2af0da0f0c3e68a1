//! The table of synsets in ImageNet's devkit.
#![no_main]

use eqr_datasets::sources::IMAGENET;
use eqr_datasets_fuzz::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let image = "train/n01440764/n01440764_1.JPEG".to_owned();
    plan(&IMAGENET, vec![image], vec![("devkit/data/meta.mat", data)]);
});
