//! Members whose paths are the lines of the input. The first byte selects the source.
#![no_main]

use eqr_datasets::sources::SOURCES;
use eqr_datasets_fuzz::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&which, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    // a tree yields only such paths
    let clean = |path: &&str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let members = text.lines().filter(clean).map(str::to_owned).collect();
    plan(SOURCES[usize::from(which) % SOURCES.len()], members, Vec::new());
});
