//! Who works on a run, for those who only look on: nothing in the folder is changed.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::cluster::process::Life;
use crate::run_folder::claim::{Seen, patience_with_a_stranger};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;

/// Whether a run is worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// This process works on it, as far as can be seen.
    GoesOn(String),
    /// The last call wrote the report.
    IsFinished,
    /// Nobody works on it, and something may be missing.
    HasStopped,
}

/// Looks at the claim of a run's folder again and again.
pub struct Onlooker<'a> {
    folder: &'a RunFolder,
    path: PathBuf,
    /// The claim, and since when it has been as it is.
    seen: Option<(Seen, Instant)>,
}

impl<'a> Onlooker<'a> {
    /// An onlooker who has not looked yet.
    pub fn new(folder: &'a RunFolder) -> Self {
        Onlooker { folder, path: folder.path(layout::LOCK), seen: None }
    }

    /// Looks once. A process out of sight, as on another machine, is taken for dead when it has not touched
    /// its claim for two minutes in which this one has looked on.
    ///
    /// # Errors
    /// A claim that cannot be read.
    pub fn look(&mut self) -> Result<Work> {
        let Some(seen) = Seen::at(&self.path)? else {
            let is_finished = self.folder.path(layout::TIMING).is_file();
            return Ok(if is_finished { Work::IsFinished } else { Work::HasStopped });
        };
        let since = match self.seen.take() {
            Some((last, since)) if last == seen => since,
            _ => Instant::now(),
        };
        let goes_on = match seen.life() {
            Life::Runs => true,
            Life::Ended => false,
            Life::OutOfSight => since.elapsed() < patience_with_a_stranger(),
        };
        let owner = seen.owner();
        self.seen = Some((seen, since));
        Ok(if goes_on { Work::GoesOn(owner) } else { Work::HasStopped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_folder::lock::RunLock;

    #[test]
    fn a_run_goes_on_while_its_process_has_the_claim() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(place.path());
        let mut onlooker = Onlooker::new(&folder);
        assert_eq!(onlooker.look().unwrap(), Work::HasStopped);
        let lock = RunLock::take(folder.root()).unwrap();
        let own = format!("process {} on ", std::process::id());
        let goes_on = matches!(onlooker.look().unwrap(), Work::GoesOn(owner) if owner.starts_with(&own));
        assert!(goes_on);
        drop(lock);
        std::fs::write(folder.path(layout::TIMING), "{}").unwrap();
        assert_eq!(onlooker.look().unwrap(), Work::IsFinished);
        // a claim that nobody wrote
        std::fs::write(folder.path(layout::LOCK), "{}").unwrap();
        assert!(matches!(onlooker.look().unwrap(), Work::GoesOn(_)));
    }
}
