//! Skipping tests on machines that lack what they need.

use std::io::Write;

/// Prints that the current test, or the rest of it, is skipped because `need` is missing. Panics if
/// `EQR_REQUIRE` names it: a comma-separated list of mpi, shared, browser, latex,
/// python and onnx.
pub fn skip(need: &str, why: &str) {
    let required = std::env::var("EQR_REQUIRE").unwrap_or_default();
    assert!(required.split(',').all(|word| word.trim() != need), "{why}, and EQR_REQUIRE names {need}");
    skipped(why);
}

/// Prints that the current test is skipped, past the test harness, which hides the output of passing tests.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    writeln!(std::io::stderr(), "SKIPPED: {}: {why}", thread.name().unwrap_or("?")).expect("stderr is open");
}
