//! Lists of the sources. The first byte selects a layout; `====` separates the lists.
#![no_main]

use eqr_datasets_fuzz::{LAYOUTS, parts, plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&which, rest)) = data.split_first() else { return };
    let layout = &LAYOUTS[usize::from(which) % LAYOUTS.len()];
    let others = layout.others.iter().map(|path| path.to_string()).collect();
    plan(layout.source, others, layout.lists.iter().copied().zip(parts(rest)).collect());
});
