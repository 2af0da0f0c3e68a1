//! Who makes which cell: the dearest first, each by the rank, or the group of ranks, that is free next.
//!
//! A rank takes a cell by making a file, which only one rank can do. No rank waits for another's file, so a
//! rank that dies or hangs with one keeps no other rank from its work. The files end with the call.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use eqr_models::Collective;

use crate::cluster::agreement::from_leader;
use crate::cluster::worker::Worker;
use crate::failure::Outcome;
use crate::run::prepare::on_leader;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;

/// The cells of a call, as ranks take them.
pub(super) struct Dealing<'a> {
    ranks: &'a dyn Collective,
    /// Folder of the files of taken cells; `None` if one takes all.
    taken: Option<PathBuf>,
}

impl<'a> Dealing<'a> {
    /// Begins to deal to ranks, or groups of ranks, of this number. Every rank must call it.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub(super) fn begin(worker: &Worker<'a>, folder: &RunFolder, takers: usize) -> Outcome<Dealing<'a>> {
        let ranks = worker.ranks;
        if takers == 1 {
            return Ok(Dealing { ranks, taken: None });
        }
        let name = on_leader(worker, || new_folder(folder).map(Some))?;
        let taken = from_leader(ranks, &name).map(|name| folder.path(name));
        Ok(Dealing { ranks, taken })
    }

    /// Takes a cell, unless another rank has.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub(super) fn take(&self, id: &str) -> Result<bool> {
        let Some(taken) = &self.taken else { return Ok(true) };
        let file = taken.join(id);
        match File::create_new(&file) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot take {}", file.display())),
        }
    }

    /// Waits until no rank has a cell left. Every rank must call it.
    pub(super) fn end(self) {
        let Some(taken) = self.taken else { return };
        self.ranks.idle_barrier();
        if self.ranks.rank() == 0 {
            // a folder that stays is removed by the next call
            let _ = fs::remove_dir_all(&taken);
        }
    }
}

/// Makes a folder of a name that no rank has looked for before: a client of a network file system may
/// remember for a while that a name was not there. Removes those of calls that were killed.
fn new_folder(folder: &RunFolder) -> Result<String> {
    for entry in fs::read_dir(folder.root())?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(layout::TAKEN) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    let name = format!("{}{:016x}", layout::TAKEN, RandomState::new().hash_one(std::process::id()));
    let made = folder.path(&name);
    fs::create_dir(&made).with_context(|| format!("cannot make {}", made.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use eqr_models::Solo;

    use super::*;

    /// Four hands take a hundred cells, each once, and what a killed call left is removed.
    #[test]
    fn a_cell_is_taken_once() {
        let run = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(run.path());
        fs::create_dir(run.path().join(format!("{}left", layout::TAKEN))).unwrap();
        let taken = run.path().join(new_folder(&folder).unwrap());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1);
        let all = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let own = Dealing { ranks: &Solo, taken: Some(taken.clone()) };
                    let took = (0..100).filter(|id| own.take(&format!("probe-{id}")).unwrap()).count();
                    all.fetch_add(took, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(all.into_inner(), 100);
        let own = Dealing { ranks: &Solo, taken: Some(taken.clone()) };
        own.end();
        assert!(!taken.exists());
        let gone = Dealing { ranks: &Solo, taken: Some(taken) }.take("probe-1").unwrap_err();
        assert!(format!("{gone:#}").starts_with("cannot take "), "{gone:#}");
    }

    #[test]
    fn a_rank_that_is_alone_takes_all() {
        let alone = Dealing { ranks: &Solo, taken: None };
        assert!(alone.take("a").unwrap() && alone.take("a").unwrap());
        alone.end();
    }
}
