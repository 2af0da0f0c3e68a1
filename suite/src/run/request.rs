//! The request that `run` carries out, and the checks of its options against the suite and the launch.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use eqr_models::MethodKind;
use eqr_probes::sequential::Looks;
use tch::Device;

use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::micro_batch::MicroBatch;
use crate::cluster::precision::Precision;
use crate::cluster::worker::check_cuda_graph;
use crate::run::device_rates::DeviceName;
use crate::run_folder::layout;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::overrides::Override;
use crate::suite_file::plan::EncoderRun;
use crate::suite_file::suite::Suite;
use crate::suite_file::until_decided::UntilDecided;

/// Which cells of its suite a run makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunScope {
    /// All cells, and the report.
    Whole,
    /// The trainings alone.
    Trainings,
    /// The trainings and measurements of a method with one seed, as a part of a shared run. There is no report.
    Part {
        /// The method.
        method: MethodKind,
        /// The pretraining seed.
        seed: u64,
    },
}

impl RunScope {
    /// Whether the cells of this encoder are made.
    pub(super) fn has(&self, run: &EncoderRun) -> bool {
        match self {
            RunScope::Whole | RunScope::Trainings => true,
            RunScope::Part { method, seed } => run.row.kind == *method && run.seed == *seed,
        }
    }
}

/// The options of `run`.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Preset or TOML file.
    pub suite: String,
    /// The run's folder.
    pub out: PathBuf,
    /// Folders with packs.
    pub data_roots: Vec<PathBuf>,
    /// Keys of the suite that the command line sets.
    pub set: Vec<Override>,
    /// Rows in addition to the suite's own.
    pub rows: Vec<ExternalRow>,
    /// Whether encoders that were trained elsewhere get a floor.
    pub floors: bool,
    /// Number type.
    pub precision: Precision,
    /// Device and threads of a rank.
    pub compute: ComputeOptions,
    /// Pairs that a rank encodes at a time.
    pub micro_batch: MicroBatch,
    /// Record training steps as CUDA graphs.
    pub cuda_graph: bool,
    /// Number of ranks that share one training; all of them if unset.
    pub ranks_per_cell: Option<NonZeroUsize>,
    /// Finished runs whose trainings are reused if they equal this suite's.
    pub pretrained: Vec<PathBuf>,
    /// Folders of parts of this run, or of the run that this one is a part of, whose cells are taken over.
    pub parts: Vec<PathBuf>,
    /// Add seeds until the claims are decided.
    pub until_decided: Option<UntilDecided>,
    /// Write training curves as events for TensorBoard.
    pub tensorboard: bool,
    /// Which cells are made.
    pub scope: RunScope,
    /// Print no tables at the end.
    pub no_tables: bool,
    /// Only print what would be done, with its cost on this device.
    pub dry_run: Option<DeviceName>,
}

impl RunRequest {
    /// The looks at the claims of `suite`; `None` if the number of seeds is fixed.
    pub(super) fn looks(&self, suite: &Suite) -> Result<Option<Looks>> {
        self.until_decided.map(|until_decided| until_decided.looks(suite)).transpose()
    }

    /// Checks that no row is read from a file that the run itself writes.
    pub(super) fn check_rows(&self, sub_suites: &[SubSuite]) -> Result<()> {
        let Ok(out) = self.out.canonicalize() else { return Ok(()) };
        let replaced = |file: &Path| {
            let file = file.canonicalize().ok();
            let inside = file.as_ref().and_then(|file| file.strip_prefix(&out).ok());
            inside.is_some_and(|inside| layout::REPLACED.iter().any(|name| inside.starts_with(name)))
        };
        for row in sub_suites.iter().flat_map(|sub_suite| &sub_suite.suite.rows) {
            if let Some(file) = row.files().find(|file| replaced(file)) {
                bail!(
                    "row `{}`: {} is written by this run itself\nhint: copy the file to another place, or \
                     name another folder for --out",
                    row.name,
                    file.display()
                );
            }
        }
        Ok(())
    }

    /// The micro-batch. A given number must divide the batch of every sub-suite.
    pub(super) fn valid_micro_batch(&self, sub_suites: &[SubSuite]) -> Result<MicroBatch> {
        let MicroBatch::Pairs(pairs) = self.micro_batch else { return Ok(self.micro_batch) };
        let mut batches = sub_suites.iter().map(|sub_suite| sub_suite.suite.train.batch);
        if let Some(batch) = batches.find(|batch| !batch.is_multiple_of(pairs.get())) {
            bail!("--micro-batch {pairs} does not divide train.batch = {batch}");
        }
        Ok(self.micro_batch)
    }

    /// Whether steps are recorded, which needs a GPU and a rank for each training.
    pub(super) fn valid_cuda_graph(&self, device: Device, ranks_per_cell: usize) -> Result<bool> {
        if !self.cuda_graph {
            return Ok(false);
        }
        check_cuda_graph(device, ranks_per_cell)?;
        Ok(true)
    }

    /// The number of ranks that share one training. It must divide the number of ranks of the launch, and
    /// every rank needs at least one pair.
    pub(super) fn valid_ranks_per_cell(&self, sub_suites: &[SubSuite], size: usize) -> Result<usize> {
        let ranks = self.ranks_per_cell.map_or(size, NonZeroUsize::get);
        if !size.is_multiple_of(ranks) {
            bail!("--ranks-per-cell {ranks} does not divide the {size} ranks");
        }
        let mut batches = sub_suites.iter().map(|sub_suite| sub_suite.suite.train.batch);
        if let Some(batch) = batches.find(|&batch| batch < ranks) {
            bail!(
                "train.batch = {batch} is smaller than the {ranks} ranks\nhint: start fewer ranks or raise train.batch"
            );
        }
        Ok(ranks)
    }
}
