//! One sub-suite of a run on this rank: its images, its folder, and the device that computes.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Result;
use eqr_models::Compute;

use crate::cluster::agreement::agree;
use crate::cluster::worker::Worker;
use crate::data::known_units::training_units;
use crate::data::pairs::PairSource;
use crate::encoder::network::Network;
use crate::failure::{Failure, Outcome};
use crate::run::last_encoder::LastEncoder;
use crate::run::prepare::Prepared;
use crate::run::request::RunScope;
use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::plan::{EncoderRun, encoder_runs};
use crate::suite_file::suite::Suite;
use crate::suite_file::training_steps::TrainingSteps;

/// How the cells of a run are made.
#[derive(Clone)]
pub(super) struct CellOptions {
    /// Which of them.
    pub(super) scope: RunScope,
    pub(super) compute: Compute,
    /// Number of ranks that share one training.
    pub(super) ranks_per_cell: usize,
}

/// A prepared sub-suite with its images and everything that its cells need.
pub(super) struct RunContext<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) folder: &'a RunFolder,
    pub(super) options: CellOptions,
    pub(super) worker: &'a Worker<'a>,
    /// The pretraining seeds that are trained and measured now; with `--until-decided`, those that the
    /// current look adds.
    pub(super) seeds: Range<u64>,
    pub(super) train: PairSource,
    pub(super) test: PairSource,
    /// The encoder from a file that was opened last.
    pub(super) opened: LastEncoder,
}

impl<'a> RunContext<'a> {
    /// Reads the images of both splits.
    pub(super) fn open(
        prepared: &'a Prepared,
        folder: &'a RunFolder,
        options: CellOptions,
        worker: &'a Worker<'a>,
    ) -> Outcome<RunContext<'a>> {
        let transforms = &prepared.sub_suite.suite.transforms;
        let source = |split| PairSource::new(&prepared.data, split, transforms, worker.device);
        let train = agree(worker.ranks, source("train"))?;
        let test = agree(worker.ranks, source("test"))?;
        let suite = &prepared.sub_suite.suite;
        let mut seeds = suite.first_seeds(suite.seeds);
        if let RunScope::Part { seed, .. } = options.scope {
            seeds = if seeds.contains(&seed) { seed..seed + 1 } else { seed..seed };
        }
        let opened = LastEncoder::default();
        Ok(RunContext { prepared, folder, options, worker, seeds, train, test, opened })
    }

    pub(super) fn suite(&self) -> &'a Suite {
        &self.prepared.sub_suite.suite
    }

    /// The encoders of the sub-suite with the current seeds.
    pub(super) fn encoder_runs(&self) -> Outcome<Vec<EncoderRun>> {
        let mut runs =
            encoder_runs(&self.prepared.sub_suite, self.seeds.clone()).map_err(Failure::bad_input)?;
        runs.retain(|run| self.options.scope.has(run));
        Ok(runs)
    }

    /// The network of `run` before its training.
    pub(super) fn new_network(&self, run: &EncoderRun) -> Result<Network> {
        Network::new(
            &run.row.kind,
            self.suite(),
            &self.prepared.data,
            run.seed,
            self.options.compute,
            self.worker.device,
        )
    }

    /// The pairs that `run` trains on.
    pub(super) fn training_pairs(&self, run: &EncoderRun) -> Result<PairSource> {
        training_units(self.suite(), &self.train, &run.row.kind, run.seed)
    }

    /// The steps of the training of `run` on `units` units.
    pub(super) fn training_steps(&self, run: &EncoderRun, units: usize) -> TrainingSteps {
        TrainingSteps::new(self.suite(), &run.row, units, self.train.units().len())
    }

    /// Where the events of `run` go, if they are wanted.
    pub(super) fn events(&self, run: &EncoderRun) -> Option<PathBuf> {
        self.prepared.wants_events.then(|| self.folder.path(layout::events(&run.slug())))
    }

    pub(super) fn checkpoints(&self, run: &EncoderRun) -> Checkpoints {
        self.folder.checkpoints(&run.slug())
    }
}
