//! Temporary files that killed processes left beside their outputs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::atomic::is_temporary;

/// Age of a temporary file that nobody is writing any more. Its age counts from the last byte that was
/// written.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Removes temporary files of this program in `folder` to which nothing was written for a day.
pub(super) fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let age = entry.metadata().ok().filter(|found| found.is_file()).and_then(|found| {
            // a clock that is behind makes no file old
            found.modified().ok()?.elapsed().ok()
        });
        if age.is_some_and(|age| age > STALE) {
            // somebody else's file may stay
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn old_temporary_files_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, age: Duration| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        at(".eqr-old.part", 2 * STALE);
        at(".eqr-new.part", STALE / 2);
        at("mine.part", 2 * STALE);
        fs::create_dir(folder.path().join(".eqr-folder.part")).unwrap();
        remove_stale(folder.path());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".eqr-folder.part", ".eqr-new.part", "mine.part"]);
    }
}
