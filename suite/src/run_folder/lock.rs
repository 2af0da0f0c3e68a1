//! Allows only one run at a time in a folder: its claim is `running.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;

use anyhow::Result;

use crate::console::say_aloud;
use crate::failure::{self, RUN_FAILED};
use crate::run_folder::claim::{Claim, Touch, touch_interval};
use crate::run_folder::layout;

/// This process's lock on a folder, until it is dropped.
pub struct RunLock {
    path: PathBuf,
    claim: Claim,
    /// The folder, if the lock created it.
    made: Option<PathBuf>,
    /// Dropped to end the thread that touches the file.
    end: Option<Sender<()>>,
    touching: Option<JoinHandle<()>>,
}

impl RunLock {
    /// Locks `folder`, and creates it if needed. The owner of a lock touches it every few seconds. If it
    /// finds that the lock is no longer its own, all ranks end at once with exit code 3. That happens if
    /// someone removes the file, or if this process stood still for minutes and another machine took it for
    /// dead.
    ///
    /// # Errors
    /// Another run that uses the folder; a file system error.
    pub fn take(folder: &Path) -> Result<Self> {
        Self::take_or(folder, end_without_lock)
    }

    fn take_or(folder: &Path, on_loss: fn(&str)) -> Result<Self> {
        let path = folder.join(layout::LOCK);
        let made = (!folder.exists()).then(|| folder.to_owned());
        let claim = Claim::new();
        if let Err(error) = claim.acquire(&path) {
            remove_made(made.as_deref());
            return Err(error);
        }
        let (end, ended) = mpsc::channel::<()>();
        let (own, place, shown) = (claim.clone(), path.clone(), folder.display().to_string());
        let touching = std::thread::spawn(move || {
            while ended.recv_timeout(touch_interval()) == Err(RecvTimeoutError::Timeout) {
                if own.touch(&place) == Touch::Lost {
                    return on_loss(&loss(&shown));
                }
            }
        });
        Ok(RunLock { path, claim, made, end: Some(end), touching: Some(touching) })
    }
}

fn loss(folder: &str) -> String {
    format!(
        "{folder}: {} is no longer this run's: it was removed, or another run has taken over the folder; this one \
         ends, so that two do not write to it\nhint: when the other run has ended, the same command continues",
        layout::LOCK
    )
}

/// Ends all ranks before one of them writes another file.
fn end_without_lock(reason: &str) {
    say_aloud(&format!("error: {reason}"));
    failure::end_job(RUN_FAILED);
}

/// Removes the folder again if it is empty: a run that was refused leaves none.
fn remove_made(made: Option<&Path>) {
    if let Some(folder) = made {
        let _ = fs::remove_dir(folder);
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(touching) = self.touching.take() {
            let _ = touching.join();
        }
        // another's lock stays
        if self.claim.is_at(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
        remove_made(self.made.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("run");
        let lock = RunLock::take(&folder).unwrap();
        let message = format!("{:#}", RunLock::take(&folder).err().expect("it is locked"));
        let own = format!("process {} on ", std::process::id());
        assert!(message.contains(&own) && message.contains("hint:"), "{message}");
        drop(lock);
        assert!(!folder.exists(), "the lock made it");
        RunLock::take(&folder).unwrap();
    }

    #[test]
    fn a_lock_that_was_taken_over_is_noticed_and_left_alone() {
        static LOSSES: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(layout::LOCK);
        let on_loss = |reason: &str| {
            assert!(reason.contains("no longer this run's"), "{reason}");
            LOSSES.fetch_add(1, Ordering::SeqCst);
        };
        let lock = RunLock::take_or(folder.path(), on_loss).unwrap();
        let another = serde_json::to_string(&Claim::new()).unwrap();
        fs::write(&path, &another).unwrap();
        while LOSSES.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(touch_interval() / 10);
        }
        drop(lock);
        assert_eq!(fs::read_to_string(&path).unwrap(), another);
    }
}
