//! The inputs of a training, and how it ends.

use std::path::PathBuf;

use crate::cluster::worker::Worker;
use crate::data::pairs::PairSource;
use crate::failure::Failure;
use crate::pretrain::divergence::Divergence;
use crate::run_folder::checkpoint::TrainingState;
use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::folder::RunFolder;
use crate::suite_file::suite::Suite;
use crate::suite_file::training_steps::TrainingSteps;

/// One training: its data, its length, and where its results are written.
pub struct TrainingJob<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// Training split.
    pub source: &'a PairSource,
    /// Whether batches hold view 1 of other pairs.
    pub takes_other_view1: bool,
    /// Number of steps and their learning rates.
    pub steps: TrainingSteps,
    /// Pretraining seed.
    pub seed: u64,
    /// Steps after which the parameters are saved for a probe.
    pub curve_steps: Vec<u64>,
    /// Its checkpoints.
    pub checkpoints: Checkpoints,
    /// The run's folder, for its log.
    pub run_folder: &'a RunFolder,
    /// Folder of its events for TensorBoard, if they are wanted.
    pub events: Option<PathBuf>,
    /// Id of the cell.
    pub cell: String,
    /// Name in progress lines and messages.
    pub label: String,
    /// This rank.
    pub worker: &'a Worker<'a>,
}

/// A training that took all its steps.
pub struct FinishedTraining {
    /// Counters and loss curve.
    pub state: TrainingState,
    /// Whether it continued an interrupted training.
    pub resumed: bool,
}

/// Why a training did not take all its steps.
pub enum TrainingStop {
    /// The run cannot go on.
    Failed(Failure),
    /// This training cannot go on, on any rank; others can.
    Diverged(Divergence),
    /// A signal requested it; the checkpoint is written.
    Requested,
}

impl From<Failure> for TrainingStop {
    fn from(failure: Failure) -> Self {
        TrainingStop::Failed(failure)
    }
}

impl From<Divergence> for TrainingStop {
    fn from(divergence: Divergence) -> Self {
        TrainingStop::Diverged(divergence)
    }
}
