//! The work on one data set: stage by stage, trainings and then measurements.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;

use crate::failure::Outcome;
use crate::report::ReportContext;
use crate::run::context::RunContext;
use crate::run::measurements::MeasuredRow;
use crate::run::outcome::FailedMeasurement;
use crate::run::prepare::on_leader;
use crate::run::reporting::{Phases, timed};
use crate::run::request::RunScope;
use crate::run::stages::stages;
use crate::run::{integrity, looks, measure_cells, partial_table, pretrain_cells};
use crate::suite_file::plan::EncoderRun;

/// What became of the cells of a run.
#[derive(Default)]
pub(super) struct Cells {
    /// Ids of those that must be finished.
    pub(super) planned: BTreeSet<String>,
    pub(super) diverged: Vec<EncoderRun>,
    pub(super) failed: Vec<FailedMeasurement>,
}

/// The work on one data set.
pub(super) struct DataSetRun<'a> {
    pub(super) context: RunContext<'a>,
    pub(super) report: &'a ReportContext,
    /// Whether no other data set follows.
    pub(super) is_last: bool,
}

impl DataSetRun<'_> {
    /// Does what is missing, and prints a table after every stage that another one follows.
    pub(super) fn run(&mut self, phases: &mut Phases, cells: &mut Cells) -> Outcome<()> {
        let measures = self.context.options.scope != RunScope::Trainings;
        let all_planned = integrity::planned(&self.context, &[], &[])?;
        let line = json!({"data_set": self.report.part, "planned": all_planned.len()});
        on_leader(self.context.worker, || self.context.folder.log(&line))?;
        let mut stages = VecDeque::from(stages(&self.context)?);
        while let Some(seeds) = stages.pop_front() {
            self.context.seeds = seeds;
            let has_news = integrity::lacks_cells(&self.context)?;
            let say_partial = |context: &RunContext| {
                let say = || partial_table::say_partial(context, self.report, &all_planned);
                on_leader(context.worker, || if has_news { say() } else { Ok(()) })
            };
            let mut failed = Vec::new();
            // the rows that need no training give the first table
            if measures && self.is_first_stage() {
                failed = self.measure(phases, &[], |row| !row.trains())?;
                say_partial(&self.context)?;
            }
            let diverged = timed(&mut phases.training, || pretrain_cells::train_missing(&self.context))?;
            if measures {
                let wanted = |row: &MeasuredRow| row.trains() || !self.is_first_stage();
                failed.extend(self.measure(phases, &diverged, wanted)?);
            }
            self.context.worker.ranks.barrier();
            cells.planned.extend(integrity::planned(&self.context, &diverged, &failed)?);
            cells.diverged.extend(diverged);
            cells.failed.extend(failed);
            if stages.is_empty() {
                stages.extend(looks::next_seed(&self.context, self.report)?);
            }
            if measures && !(stages.is_empty() && self.is_last) {
                say_partial(&self.context)?;
            }
        }
        Ok(())
    }

    fn is_first_stage(&self) -> bool {
        self.context.seeds.start == self.context.suite().first_seed
    }

    fn measure(
        &self,
        phases: &mut Phases,
        diverged: &[EncoderRun],
        wanted: impl Fn(&MeasuredRow) -> bool,
    ) -> Outcome<Vec<FailedMeasurement>> {
        timed(&mut phases.probes, || measure_cells::measure_missing(&self.context, diverged, wanted))
    }
}
