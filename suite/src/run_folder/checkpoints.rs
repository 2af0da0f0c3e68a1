//! The checkpoints of one training: `step-N/` to resume from (the newest two are kept), and `curve-N/` with
//! only the parameters, for the curve of R2 against steps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use eqr_models::Arena;
use eqr_models::adam::Adam;

use crate::run_folder::atomic_file::{remove_folder, write_folder_atomic, write_synced};
use crate::run_folder::checkpoint::{
    self, Checkpoint, CheckpointError, OPTIMIZER, PARAMETERS, TrainingState,
};
use crate::run_folder::training_identity::TrainingIdentity;

/// Number of `step-N` folders that are kept, because one may be damaged.
const KEPT: usize = 2;

/// The checkpoints of one training.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// Folder of this training only.
    pub folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoint after `step` steps.
    pub fn at_step(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// The parameters after `step` steps, for the curve of R2 against steps.
    pub fn on_curve(&self, step: u64) -> PathBuf {
        self.folder.join(format!("curve-{step}"))
    }

    /// Steps of the checkpoints, newest first, including damaged ones.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>> {
        self.numbered("step-")
    }

    /// The parameters kept for points of the curve.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn curve(&self) -> Result<Vec<PathBuf>> {
        Ok(self.numbered("curve-")?.into_iter().map(|step| self.on_curve(step)).collect())
    }

    /// Numbers after `prefix` in the names of the folder's entries, largest first.
    fn numbered(&self, prefix: &str) -> Result<Vec<u64>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let files = fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Step of the newest undamaged checkpoint. Damaged ones are renamed to `step-N.damaged`, and `warn`
    /// receives a sentence about each.
    ///
    /// # Errors
    /// A complete checkpoint of another training than `wanted`: it must not be overwritten.
    pub fn newest_undamaged(
        &self,
        wanted: &TrainingIdentity,
        warn: &dyn Fn(&str) -> Result<()>,
    ) -> Result<Option<u64>> {
        let steps = self.steps()?;
        for (i, &step) in steps.iter().enumerate() {
            let folder = self.at_step(step);
            let verified = Checkpoint::open(&folder).and_then(|checkpoint| {
                let matches = checkpoint.manifest.identity.ensure_matches(wanted);
                matches.with_context(|| folder.display().to_string()).map_err(CheckpointError::Mismatch)?;
                checkpoint.verify()
            });
            let error = match verified {
                Ok(()) => return Ok(Some(step)),
                Err(CheckpointError::Mismatch(error)) => return Err(error),
                Err(CheckpointError::Damaged(error)) => error,
            };
            let next = match steps.get(i + 1) {
                Some(older) => format!("falling back to step-{older}"),
                None => "no older one is left, the training starts over".to_owned(),
            };
            warn(&format!("damaged checkpoint set aside: {error:#}; {next}"))?;
            let aside = self.folder.join(format!("step-{step}.damaged"));
            remove_folder(&aside)
                .and_then(|()| fs::rename(&folder, &aside))
                .with_context(|| aside.display().to_string())?;
        }
        Ok(None)
    }

    /// Writes a checkpoint and removes the oldest ones.
    ///
    /// # Errors
    /// A file system error, with the path. Older checkpoints are then unchanged.
    pub fn save(
        &self,
        arena: &Arena,
        adam: &Adam,
        state: &TrainingState,
        identity: &TrainingIdentity,
    ) -> Result<()> {
        let mut moments = Vec::new();
        for (prefix, moment) in [("m.", &adam.m), ("v.", &adam.v)] {
            moments.extend(
                arena.named(moment).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)),
            );
        }
        let files = [(PARAMETERS, arena.named(arena.master())), (OPTIMIZER, moments)];
        checkpoint::write(&self.at_step(state.step), &files, state, identity)?;
        for step in self.steps()?.into_iter().filter(|&step| step < state.step).skip(KEPT - 1) {
            let old = self.at_step(step);
            remove_folder(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Writes only the parameters, for a point of the curve.
    ///
    /// # Errors
    /// A file system error, with the path.
    pub fn save_parameters(
        &self,
        arena: &Arena,
        state: &TrainingState,
        identity: &TrainingIdentity,
    ) -> Result<()> {
        let files = [(PARAMETERS, arena.named(arena.master()))];
        checkpoint::write(&self.on_curve(state.step), &files, state, identity)
    }

    /// Copies a checkpoint from another folder, keeping its name.
    ///
    /// # Errors
    /// A file system error, with the path.
    pub fn adopt(&self, checkpoint: &Path) -> Result<()> {
        let target = self.folder.join(checkpoint.file_name().expect("a checkpoint has a name"));
        let fill = |temporary: &Path| {
            for file in fs::read_dir(checkpoint)? {
                let file = file?;
                write_synced(&temporary.join(file.file_name()), &fs::read(file.path())?)?;
            }
            Ok(())
        };
        write_folder_atomic(&target, fill)
            .with_context(|| format!("cannot write checkpoint {}", target.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_listed_by_number_and_only_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints { folder: folder.path().join("ours-seed0") };
        assert!(checkpoints.steps().unwrap().is_empty());
        for name in ["step-9", "step-10", "step-8.damaged", "step-11.tmp", "curve-3"] {
            fs::create_dir_all(checkpoints.folder.join(name)).unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [10, 9]);
        assert_eq!(checkpoints.curve().unwrap(), [checkpoints.on_curve(3)]);
    }
}
