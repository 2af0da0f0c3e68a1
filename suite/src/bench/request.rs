//! What `bench` is asked for, and the runs that it makes of it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use eqr_models::Collective;

use crate::bench::definition::Scale;
use crate::cluster::agreement::from_leader;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::micro_batch::MicroBatch;
use crate::cluster::precision::Precision;
use crate::run::{RunRequest, RunScope};
use crate::run_folder::atomic_file::write_atomic;
use crate::suite_file::overrides::Override;

/// The options of `bench`.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// Size of the work.
    pub scale: Scale,
    /// The folder of its runs, which hold nothing yet.
    pub out: PathBuf,
    /// Number type.
    pub precision: Precision,
    /// Pairs that a rank encodes at a time.
    pub micro_batch: MicroBatch,
    /// Device and threads of a rank.
    pub compute: ComputeOptions,
    /// How often the work is done.
    pub repeat: NonZeroUsize,
    /// Print JSON.
    pub json: bool,
}

impl BenchRequest {
    /// Checks the request and writes its suite, which every rank reads.
    ///
    /// # Errors
    /// More ranks than pairs; a folder that holds one of `runs`, or that cannot be written to.
    pub(super) fn begin(&self, runs: &[&str], ranks: &dyn Collective) -> Result<()> {
        let most = self.scale.most_ranks();
        ensure!(
            ranks.size() <= most,
            "--scale {} checks {most} pairs, fewer than the {} ranks\nhint: start fewer ranks",
            self.scale.name(),
            ranks.size()
        );
        let is_used = |name: &&&str| self.out.join(name).exists();
        let used = runs.iter().find(is_used).map(|name| self.out.join(name).display().to_string());
        if let Some(used) = from_leader(ranks, &used) {
            bail!(
                "{used} is of an earlier call, and the time would not be that of the whole work\n\
                 hint: name a new folder for --out"
            );
        }
        if ranks.rank() == 0 {
            std::fs::create_dir_all(&self.out)
                .with_context(|| format!("cannot make {}", self.out.display()))?;
            write_atomic(&self.suite_file(), self.scale.suite().as_bytes())?;
        }
        Ok(())
    }

    fn suite_file(&self) -> PathBuf {
        self.out.join("suite.toml")
    }

    /// The folder of the run called `name`.
    pub(super) fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        self.out.join(name)
    }

    /// A run of the suite with the keys `set`, in the folder called `name`.
    pub(super) fn run(&self, name: impl AsRef<Path>, set: Vec<Override>) -> RunRequest {
        RunRequest {
            suite: self.suite_file().display().to_string(),
            out: self.folder(name),
            data_roots: Vec::new(),
            set,
            rows: Vec::new(),
            floors: false,
            precision: self.precision,
            compute: self.compute,
            micro_batch: self.micro_batch,
            // the time would have no parts
            cuda_graph: false,
            ranks_per_cell: None,
            pretrained: Vec::new(),
            parts: Vec::new(),
            until_decided: None,
            tensorboard: false,
            scope: RunScope::Whole,
            no_tables: true,
            dry_run: None,
        }
    }
}
