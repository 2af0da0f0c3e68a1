//! `run --dry-run`: lists the cells in order with their costs, and the cells that are done.

use std::fmt::Write;

use anyhow::Result;
use eqr_models::Compute;

use crate::cluster::micro_batch::{MicroBatch, tries};
use crate::console::print_text;
use crate::run::cost::{self, TrainingCost};
use crate::run::data_set_size::{DataSetSize, data_set_size, image_count};
use crate::run::device_rates::{DeviceName, DeviceRate};
use crate::run::measurements::after_training;
use crate::run::request::RunRequest;
use crate::run_folder::folder::RunFolder;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::downstream_sets::TransferSet;
use crate::suite_file::plan::{EncoderRun, encoder_runs, rows};
use crate::suite_file::suite::Suite;

/// Total cost of the cells.
#[derive(Clone, Copy, Default)]
struct Total {
    /// FLOPs of the unfinished cells.
    flops: f64,
    /// Number of unfinished cells with unknown cost.
    unknown: usize,
    /// Bytes of the checkpoints.
    disk: f64,
    done: usize,
    cells: usize,
}

/// A cell to compute, or that is done.
struct PlannedCell {
    id: String,
    /// `None` if it is not known.
    flops: Option<f64>,
    /// Bytes of its checkpoints.
    disk: f64,
    comment: String,
    /// Whether it is of a seed that only follows if a claim is still open.
    further: bool,
}

impl Total {
    fn add(&mut self, cell: &PlannedCell, done: bool) {
        self.cells += 1;
        self.done += usize::from(done);
        self.disk += cell.disk;
        if !done {
            self.flops += cell.flops.unwrap_or_default();
            self.unknown += usize::from(cell.flops.is_none());
        }
    }
}

/// Prints the cells with their costs for a run on `devices` devices of type `device`.
///
/// # Errors
/// Networks that cannot be built.
pub(super) fn describe(
    sub_suites: &[SubSuite],
    request: &RunRequest,
    device: DeviceName,
    devices: usize,
) -> Result<()> {
    let compute = device.compute(request.precision);
    let first = &sub_suites[0].suite;
    let size = data_set_size(first, &request.data_roots)?;
    let mut dry_run = DryRun {
        request,
        devices,
        compute,
        device: device.rate(compute, first, &size)?,
        folder: RunFolder::new(&request.out),
        text: String::new(),
        total: Total::default(),
        at_most: Total::default(),
    };
    sub_suites.iter().try_for_each(|sub_suite| dry_run.sub_suite(sub_suite))?;
    dry_run.write_total("total", dry_run.total);
    if request.until_decided.is_some() {
        dry_run.write_total("with all seeds", dry_run.at_most);
    }
    dry_run.write_device();
    print_text(&dry_run.text)
}

/// The findings so far.
struct DryRun<'a> {
    request: &'a RunRequest,
    devices: usize,
    compute: Compute,
    device: DeviceRate,
    folder: RunFolder,
    text: String,
    /// The cells of the first look, or of all seeds if their number is fixed.
    total: Total,
    /// The cells of all looks.
    at_most: Total,
}

impl DryRun<'_> {
    fn sub_suite(&mut self, sub_suite: &SubSuite) -> Result<()> {
        let suite = &sub_suite.suite;
        let roots = &self.request.data_roots;
        let key = sub_suite.key.as_ref().map(|key| format!(", {key}")).unwrap_or_default();
        let last = self.request.looks(suite)?.map(|looks| looks.last() as u64);
        let up_to =
            last.map(|last| format!(", up to {last} until the claims are decided")).unwrap_or_default();
        let _ = writeln!(
            self.text,
            "suite {}{key}: {} rows x {} seeds{up_to}",
            suite.name,
            rows(suite)?.len(),
            suite.seeds
        );
        let size = data_set_size(suite, roots)?;
        let runs = encoder_runs(sub_suite, suite.first_seeds(last.unwrap_or(suite.seeds)))?;
        let is_further = |seed: u64| seed >= suite.first_seeds(suite.seeds).end;
        for run in runs.iter().filter(|run| run.row.kind.trains()) {
            let cost = self.training(suite, run, &size)?;
            let steps = cost.steps.map_or("? steps".to_owned(), |steps| format!("{steps} steps"));
            let memory = format!("{:.1} GB a device{}", cost.memory / 1e9, self.too_large(cost.memory));
            let checkpoints = self.folder.checkpoints(&run.slug());
            let newest = checkpoints.steps()?.first().map(|step| format!(", checkpoint at step {step}"));
            let comment = format!(
                ", {steps}, {:.1} M parameters, {memory}{}",
                cost.parameters as f64 / 1e6,
                newest.unwrap_or_default()
            );
            let (id, flops, disk) = (run.pretrain_id(), cost.flops(), cost.disk);
            self.add(PlannedCell { id, flops, disk, comment, further: is_further(run.seed) });
        }
        let images = |set: &TransferSet| image_count(&set.file, &set.made_by, roots);
        let transfer_images: Vec<Option<usize>> = suite.transfer.iter().map(images).collect();
        for measurement in after_training(sub_suite, &runs) {
            let flops = cost::measurement(suite, &size, &transfer_images, &measurement);
            let further = is_further(measurement.row.pretrain_seed());
            let id = measurement.id;
            self.add(PlannedCell { id, flops, disk: 0.0, comment: String::new(), further });
        }
        Ok(())
    }

    /// The cost of a training with the pairs at a time that were asked for, or that are estimated to fit.
    fn training(&self, suite: &Suite, run: &EncoderRun, size: &DataSetSize) -> Result<TrainingCost> {
        let cost = |pairs| cost::training(suite, run, size, self.compute, self.devices, pairs);
        match self.request.micro_batch {
            MicroBatch::Whole => cost(None),
            MicroBatch::Pairs(pairs) => cost(Some(pairs.get() as i64)),
            MicroBatch::Auto => {
                let share = suite.train.batch.div_ceil(self.devices);
                let fits = |pairs: &usize| {
                    cost(Some(*pairs as i64)).is_ok_and(|cost| !self.is_too_large(cost.memory))
                };
                cost(Some(tries(share).find(fits).unwrap_or(1) as i64))
            }
        }
    }

    /// Adds one line: id, FLOPs, device hours, comment.
    fn add(&mut self, cell: PlannedCell) {
        let PlannedCell { id, flops, comment, further, .. } = &cell;
        let cost = match flops {
            Some(flops) => format!("{}, {}", flops_text(*flops), duration_text(flops / self.device.rate)),
            None => "cost unknown".to_owned(),
        };
        let done = self.folder.has_cell(id);
        let state = match (done, further) {
            (true, _) => ", done",
            (false, true) => ", if a claim is still open",
            (false, false) => "",
        };
        let _ = writeln!(self.text, "{id}  {cost}{comment}{state}");
        self.at_most.add(&cell, done);
        if !further {
            self.total.add(&cell, done);
        }
    }

    fn write_total(&mut self, what: &str, total: Total) {
        let Total { flops, unknown, disk, done, cells } = total;
        let DeviceRate { name, rate, .. } = &self.device;
        let left = cells - done;
        let unknown =
            if unknown > 0 { format!(" (and {unknown} cells of unknown cost)") } else { String::new() };
        let device_seconds = flops / rate;
        let wall = match self.devices {
            1 => String::new(),
            devices => format!(", {} on {devices} of them", duration_text(device_seconds / devices as f64)),
        };
        let _ = writeln!(
            self.text,
            "{what}: {cells} cells, {done} done, {left} left: {}{unknown}, {} of one {name}{wall}; \
             checkpoints {:.1} GB",
            flops_text(flops),
            duration_text(device_seconds),
            disk / 1e9,
        );
    }

    fn write_device(&mut self) {
        let DeviceRate { name, source, .. } = &self.device;
        let _ = writeln!(self.text, "{name}: {source}");
    }

    fn is_too_large(&self, bytes: f64) -> bool {
        self.device.memory.is_some_and(|memory| bytes > 0.9 * memory)
    }

    fn too_large(&self, bytes: f64) -> String {
        match self.is_too_large(bytes) {
            true => format!(" (more than a {} has: use --micro-batch or more devices)", self.device.name),
            false => String::new(),
        }
    }
}

/// `2.5 GFLOP`, in the unit that keeps the number short.
fn flops_text(flops: f64) -> String {
    let (unit, size) = [("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)]
        .into_iter()
        .find(|(_, size)| flops >= *size)
        .unwrap_or(("GFLOP", 1e9));
    format!("{:.1} {unit}", flops / size)
}

/// `9.0 s`, `2.0 min` or `2.0 h`.
fn duration_text(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let flops = [2.5e9, 3e12, 4.25e16, 7e19].map(flops_text);
        assert_eq!(flops, ["2.5 GFLOP", "3.0 TFLOP", "42.5 PFLOP", "70.0 EFLOP"]);
        assert_eq!([9.0, 120.0, 7200.0].map(duration_text), ["9.0 s", "2.0 min", "2.0 h"]);
    }
}
