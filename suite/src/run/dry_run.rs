//! `run --dry-run`: the cells in their order with what they cost, what is done already, and whether the data is there.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;
use eqr_datasets::solids::CLASS_COUNT;
use eqr_datasets::sources::source;
use eqr_datasets::{Kind, Pack};
use eqr_models::Compute;
use tch::Device;

use crate::cluster::precision::Precision;
use crate::cluster::worker::Worker;
use crate::console::print_text;
use crate::data::open::find;
use crate::perf::gemm_ceiling;
use crate::run::cost::{self, DataSetSize};
use crate::run::{RunRequest, measure_cells};
use crate::run_folder::cell::CellKind;
use crate::run_folder::checkpoint::Checkpoints;
use crate::run_folder::store::RunFolder;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::downstream_sets::TransferSet;
use crate::suite_file::plan::{entries, rows};
use crate::suite_file::suite::{Data, Suite};

/// A device that costs are told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// NVIDIA A100, 40 GB.
    A100,
    /// NVIDIA H100 (SXM), 80 GB.
    H100,
    /// NVIDIA H200, 141 GB.
    H200,
    /// NVIDIA GH200, 96 GB.
    Gh200,
    /// This machine's CPU, whose products are timed.
    Cpu,
}

/// Part of a GPU's peak that a training step is taken to reach. An assumption: nothing was measured on a GPU.
const GPU_SHARE: f64 = 0.35;

/// Part of the CPU's measured products that the steps under results/reference/perf reached at width 192, in bf16 and in fp32.
const CPU_SHARE: [f64; 2] = [0.34, 0.58];

/// A device in numbers.
struct Rated {
    name: &'static str,
    /// FLOP/s that a training is taken to reach.
    rate: f64,
    /// Bytes of memory; none for a CPU.
    memory: Option<f64>,
    /// Where the rate comes from.
    says: String,
}

impl DeviceName {
    /// Dense peaks from the makers' data sheets: bf16 on tensor cores, fp32 without TF32.
    fn rated(self, compute: Compute) -> Rated {
        let (name, [bf16, fp32], gigabytes) = match self {
            DeviceName::A100 => ("A100", [312.0, 19.5], 40.0),
            DeviceName::H100 => ("H100", [989.0, 67.0], 80.0),
            DeviceName::H200 => ("H200", [989.0, 67.0], 141.0),
            DeviceName::Gh200 => ("GH200", [989.0, 67.0], 96.0),
            DeviceName::Cpu => return cpu(compute),
        };
        let peak = if compute == Compute::Bf16 { bf16 } else { fp32 };
        let says = format!("{GPU_SHARE} of its peak of {peak} TFLOP/s, an assumption: nothing was measured on a GPU");
        Rated { name, rate: peak * 1e12 * GPU_SHARE, memory: Some(gigabytes * 1e9), says }
    }

    /// What `auto` is on it.
    fn compute(self, asked: Precision) -> Compute {
        match self {
            DeviceName::Cpu => asked.resolve(Device::Cpu),
            _ => asked.resolve(Device::Cuda(0)),
        }
    }
}

fn cpu(compute: Compute) -> Rated {
    let ceiling = gemm_ceiling(compute.kind(), Device::Cpu);
    let share = CPU_SHARE[usize::from(compute != Compute::Bf16)];
    let says = format!("{share} of the {:.0} GFLOP/s that its products reach now", ceiling / 1e9);
    Rated { name: "CPU", rate: ceiling * share, memory: None, says }
}

/// Costs of all parts.
#[derive(Default)]
struct Sum {
    flops: f64,
    unknown: usize,
    disk: f64,
    done: usize,
    cells: usize,
}

/// Prints the cells with their costs, and what is missing.
///
/// # Errors
/// Networks that cannot be built, and data that is not there: all of it, after the cells were printed.
pub fn describe(parts: &[SubSuite], request: &RunRequest, worker: &Worker) -> Result<()> {
    let name = request.dry_run.expect("a dry run was asked for");
    let compute = name.compute(request.precision);
    let rated = name.rated(compute);
    let mut plan = Plan {
        request,
        devices: worker.ranks.size(),
        compute,
        rated,
        store: RunFolder::at(&request.out),
        text: String::new(),
        sum: Sum::default(),
        missing: Vec::new(),
    };
    parts.iter().try_for_each(|part| plan.part(part))?;
    plan.total();
    print_text(&plan.text)?;
    if plan.missing.is_empty() {
        return Ok(());
    }
    bail!("{} packs or files are missing:\n{}", plan.missing.len(), plan.missing.join("\n"))
}

/// A dry run under way.
struct Plan<'a> {
    request: &'a RunRequest,
    devices: usize,
    compute: Compute,
    rated: Rated,
    store: RunFolder,
    text: String,
    sum: Sum,
    missing: Vec<String>,
}

impl Plan<'_> {
    fn part(&mut self, part: &SubSuite) -> Result<()> {
        let suite = &part.suite;
        let set = part.key.as_ref().map(|key| format!(", {key}")).unwrap_or_default();
        let _ = writeln!(self.text, "suite {}{set}: {} rows x {} seeds", suite.name, rows(suite)?.len(), suite.seeds);
        let extent = self.extent(suite)?;
        let micro_batch = self.request.micro_batch.map(|pairs| pairs.get() as i64);
        for entry in entries(part)?.into_iter().filter(|entry| entry.row.kind.trains()) {
            let cost = cost::training(suite, &entry, &extent, self.compute, self.devices, micro_batch)?;
            let id = entry.pretrain_id();
            let steps = cost.steps.map_or("? steps".to_owned(), |steps| format!("{steps} steps"));
            let memory = format!("{:.1} GB a device{}", cost.memory / 1e9, self.too_large(cost.memory));
            let at = Checkpoints { folder: self.store.path("checkpoints").join(entry.slug()) };
            let from = at.steps()?.first().map(|step| format!(", checkpoint at step {step}")).unwrap_or_default();
            let parameters = cost.parameters as f64 / 1e6;
            self.line(&id, cost.flops(), &format!("{steps}, {parameters:.1} M parameters, {memory}{from}"));
            self.sum.disk += cost.disk;
        }
        let images = |set: &TransferSet| match self.pack(&set.file) {
            Some(pack) => Some(images_of(&pack)),
            None => published(&set.made_by).map(|sizes| sizes.iter().sum()),
        };
        let transfers: Vec<Option<usize>> = suite.transfer.iter().map(images).collect();
        for planned in measure_cells::planned(part)? {
            let flops = match planned.kind {
                _ if planned.external => None,
                CellKind::Transfer => transfers[planned.set].map(|images| cost::transfer(suite, &extent, images)),
                CellKind::Segment => Some(cost::segmentation(suite, &extent, &suite.segmentation[planned.set])),
                CellKind::Probe | CellKind::Pretrain => Some(cost::probes(suite, &extent)),
            };
            self.line(&planned.id, flops, "");
        }
        self.look_for(suite);
        Ok(())
    }

    /// One cell: its id, FLOPs, device hours, and what else there is to say.
    fn line(&mut self, id: &str, flops: Option<f64>, more: &str) {
        let cost = match flops {
            Some(flops) => format!("{}, {}", in_units(flops), hours(flops / self.rated.rate)),
            None => "cost unknown".to_owned(),
        };
        let done = self.store.has(id);
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        let _ = writeln!(self.text, "{id}  {cost}{more}{}", if done { ", done" } else { "" });
        self.sum.cells += 1;
        self.sum.done += usize::from(done);
        if !done {
            self.sum.flops += flops.unwrap_or_default();
            self.sum.unknown += usize::from(flops.is_none());
        }
    }

    fn total(&mut self) {
        let sum = &self.sum;
        let left = sum.cells - sum.done;
        let unknown =
            if sum.unknown > 0 { format!(" (and {} cells of unknown cost)", sum.unknown) } else { String::new() };
        let device_seconds = sum.flops / self.rated.rate;
        let wall = if self.devices > 1 {
            format!(", {} on {} of them", hours(device_seconds / self.devices as f64), self.devices)
        } else {
            String::new()
        };
        let _ = writeln!(
            self.text,
            "total: {} cells, {} done, {left} left: {}{unknown}, {} of one {}{wall}; checkpoints {:.1} GB\n{}: {}",
            sum.cells,
            sum.done,
            in_units(sum.flops),
            hours(device_seconds),
            self.rated.name,
            sum.disk / 1e9,
            self.rated.name,
            self.rated.says,
        );
    }

    fn too_large(&self, bytes: f64) -> String {
        match self.rated.memory {
            Some(memory) if bytes > 0.9 * memory => {
                format!(" (more than a {} has: --micro-batch, or more devices)", self.rated.name)
            }
            _ => String::new(),
        }
    }

    fn pack(&self, file: &str) -> Option<Pack> {
        find(file, "", &self.request.data_roots).ok().and_then(|path| Pack::open(path).ok())
    }

    /// What is known of the suite's data set: from its pack, or what is published of it.
    ///
    /// # Errors
    /// A set to be rendered with values out of range.
    fn extent(&self, suite: &Suite) -> Result<DataSetSize> {
        Ok(match &suite.data {
            Data::Solids { spec } => {
                let units = spec.training_objects()?;
                DataSetSize { kind: Kind::Renders, side: spec.side, units, classes: CLASS_COUNT }
            }
            Data::Pack { file, made_by, side } => match self.pack(file) {
                Some(pack) => {
                    let train = pack.split("train");
                    let own = train.and_then(eqr_datasets::PackedSplit::side);
                    let side = side.or(own).unwrap_or(224);
                    DataSetSize {
                        kind: pack.kind,
                        side,
                        units: train.map(eqr_datasets::PackedSplit::units),
                        classes: pack.class_names.len(),
                    }
                }
                None => {
                    let kind = if made_by.contains("3diebench") || made_by.contains("solids") {
                        Kind::Renders
                    } else {
                        Kind::Photographs
                    };
                    DataSetSize {
                        kind,
                        side: side.unwrap_or(32),
                        units: published(made_by).map(|sizes| sizes[0]),
                        classes: 1000,
                    }
                }
            },
        })
    }

    /// Notes every pack and file that the suite names and that is not there.
    fn look_for(&mut self, suite: &Suite) {
        let own = match &suite.data {
            Data::Pack { file, made_by, .. } => Some((file, made_by)),
            Data::Solids { .. } => None,
        };
        let transfers = suite.transfer.iter().map(|set| (&set.file, &set.made_by));
        let segmentations = suite.segmentation.iter().map(|set| (&set.file, &set.made_by));
        for (file, made_by) in own.into_iter().chain(transfers).chain(segmentations) {
            let line = match find(file, made_by, &self.request.data_roots) {
                Ok(path) => match Pack::open(&path) {
                    Ok(_) => continue,
                    Err(error) => format!("  {}: {error}", path.display()),
                },
                Err(_) => format!("  {file}: make it with `{made_by}` and pass its folder as --data-root"),
            };
            // another data set of the suite may name it too
            let known = format!("  {file}:");
            if self.missing.iter().all(|line| !line.starts_with(&known)) {
                self.missing.push(line);
            }
        }
        let of_rows =
            suite.rows.iter().flat_map(|row| [&row.encoder, &row.features, &row.metrics].into_iter().flatten());
        for path in of_rows.chain(&suite.train.init).filter(|path| !path.exists()) {
            self.missing.push(format!("  {}: no such file", path.display()));
        }
        for run in self.request.pretrained.iter().filter(|run| !is_run(run)) {
            self.missing.push(format!("  --pretrained {}: holds no run", run.display()));
        }
    }
}

fn is_run(path: &Path) -> bool {
    path.join("manifest.json").exists()
}

/// Images of every split of a pack.
fn images_of(pack: &Pack) -> usize {
    let splits = ["train", "val", "test"].iter().filter_map(|name| pack.split(name));
    splits.map(eqr_datasets::PackedSplit::len).sum()
}

/// Sizes of the splits, the training split's first, as the kind of source that `made_by` names is published.
fn published(made_by: &str) -> Option<Vec<usize>> {
    let kind = made_by.split_once("data pack ")?.1.split(' ').next()?;
    let sizes = source(kind)?.about.sizes.split('(').next()?;
    let numbers: Vec<usize> =
        sizes.split('/').filter_map(|split| split.split_whitespace().next()?.replace(',', "").parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// FLOPs in a unit that keeps the number short.
fn in_units(flops: f64) -> String {
    let (unit, size) = [("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)]
        .into_iter()
        .find(|(_, size)| flops >= *size)
        .unwrap_or(("GFLOP", 1e9));
    format!("{:.1} {unit}", flops / size)
}

fn hours(seconds: f64) -> String {
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
    fn sizes_of_public_sets_are_known_without_their_packs() {
        let of = |kind: &str| published(&format!("eqr-bench data pack {kind} INPUT --out x.h5"));
        assert_eq!(of("imagenet"), Some(vec![1_281_167, 50_000]));
        assert_eq!(of("3diebench"), Some(vec![41_920, 10_552]));
        assert_eq!(of("cifar10"), Some(vec![50_000, 10_000]));
        assert_eq!(of("class-folders"), None);
        assert_eq!(published("something else"), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([2.5e9, 3e12, 4.25e16, 7e19].map(in_units), ["2.5 GFLOP", "3.0 TFLOP", "42.5 PFLOP", "70.0 EFLOP"]);
        assert_eq!([9.0, 120.0, 7200.0].map(hours), ["9.0 s", "2.0 min", "2.0 h"]);
    }
}
