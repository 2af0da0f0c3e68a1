//! A request to stop, as a file in the run's folder. Groups of ranks that train side by side, and ranks that
//! measure, meet only when their work is done: by this file, a signal to one of them reaches the others.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::console::say_aloud;

/// Time between two looks at the file, which may be on a file server.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The file as a rank sees it.
pub struct StopFile {
    path: PathBuf,
    look: Mutex<Look>,
}

/// What the last look has found.
#[derive(Default)]
struct Look {
    at: Option<Instant>,
    found: bool,
}

impl StopFile {
    /// The file at `path`, which may exist or not.
    pub fn at(path: PathBuf) -> Self {
        StopFile { path, look: Mutex::default() }
    }

    /// Whether a rank has written the file. Looks at most once a second.
    pub fn is_written(&self) -> bool {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if !look.found && look.at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL) {
            *look = Look { at: Some(Instant::now()), found: self.path.exists() };
        }
        look.found
    }

    /// Writes the file, on the first call. If that fails, the others stop when their work is done.
    pub fn write(&self) {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if look.found {
            return;
        }
        look.found = true;
        if let Err(error) = File::create(&self.path) {
            let path = self.path.display();
            say_aloud(&format!("note: cannot write {path}: {error}; other ranks finish their work first"));
        }
    }
}

/// Keeps the file from outliving the run: it is removed when this is made and when this is dropped.
pub struct NoStopFile(PathBuf);

impl NoStopFile {
    /// Removes what an earlier call has left at `path`. Only the leading rank does this, before the others
    /// look.
    ///
    /// # Errors
    /// A file system error.
    pub fn make(path: PathBuf) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(NoStopFile(path)),
        }
    }
}

impl Drop for NoStopFile {
    fn drop(&mut self) {
        // the next call removes it, too
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{NoStopFile, StopFile};

    #[test]
    fn a_request_of_one_rank_is_seen_by_another_and_does_not_outlive_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stop");
        std::fs::write(&path, "of an earlier call").unwrap();
        let run = NoStopFile::make(path.clone()).unwrap();
        let [own, other] = [StopFile::at(path.clone()), StopFile::at(path.clone())];
        assert!(!own.is_written());
        own.write();
        assert!(own.is_written() && other.is_written());
        drop(run);
        assert!(!path.exists());
    }
}
