//! Compares a text that the program makes with a file of the workspace, letter for letter.
//! `EQR_RENEW_GOLDEN=1` rewrites the file after an intended change.

use std::path::Path;

/// Fails unless the file `path` of the workspace is `found`.
pub fn held_against(path: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("EQR_RENEW_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    let renew = "EQR_RENEW_GOLDEN=1 renews it";
    for (i, (wanted, found)) in wanted.lines().zip(found.lines()).enumerate() {
        assert_eq!(wanted, found, "{path}, line {}; {renew}", i + 1);
    }
    assert_eq!(wanted.lines().count(), found.lines().count(), "{path}: number of lines; {renew}");
}
