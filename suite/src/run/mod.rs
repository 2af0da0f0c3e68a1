//! `eqr-bench run`: pretrain what is missing, probe what is missing, write the report.

pub mod cost;
pub mod dry_run;
pub mod measure_cells;
pub mod reuse;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_datasets::Pack;
use eqr_models::vit::VitConfig;
use eqr_models::{Collective, Compute};
use serde_json::json;
use tch::Tensor;

use crate::cluster::agreement::{agree, gathered, same_everywhere, texts};
use crate::cluster::allocator::give_back_memory;
use crate::cluster::host::host;
use crate::cluster::precision::Precision;
use crate::cluster::stop_signal;
use crate::cluster::worker::Worker;
use crate::console::{print_text, say};
use crate::data::known_part::training_part;
use crate::data::open::{self, OpenedPack};
use crate::data::pairs::PairSource;
use crate::data::scenes;
use crate::encoder::frozen;
use crate::encoder::network::{Network, model_config, network};
use crate::encoder::vit_file::Parameters;
use crate::failure::{Failure, Outcome};
use crate::pretrain::divergence::Divergence;
use crate::pretrain::training_loop::{FinishedTraining, TrainingJob, TrainingStop, batch_units, train};
use crate::report::{self, Report, ReportContext, TransferColumn};
use crate::run::dry_run::DeviceName;
use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::{Cell, CellKind, SCHEMA};
use crate::run_folder::checkpoint::Checkpoints;
use crate::run_folder::lock::RunLock;
use crate::run_folder::provenance::provenance;
use crate::run_folder::store::RunFolder;
use crate::run_folder::{manifest, row_files};
use crate::suite_file::course::TrainingSteps;
use crate::suite_file::data_sets::{self, SubSuite};
use crate::suite_file::downstream_sets::TransferSet;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::plan::{EncoderRun, curve_steps, entries, rows};
use crate::suite_file::suite::Suite;
use crate::suite_file::tasks::tasks;

/// What `run` was asked for.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Preset or TOML file.
    pub suite: String,
    /// The run's folder.
    pub out: PathBuf,
    /// Folders with packs.
    pub data_roots: Vec<PathBuf>,
    /// `key=value` overrides of the suite.
    pub set: Vec<String>,
    /// Rows beside the suite's own.
    pub rows: Vec<ExternalRow>,
    /// Number type.
    pub precision: Precision,
    /// Threads a rank.
    pub threads: Option<NonZeroUsize>,
    /// Pairs that a rank encodes at a time.
    pub micro_batch: Option<NonZeroUsize>,
    /// Ranks that work on one training; all of them where unset.
    pub ranks_per_cell: Option<NonZeroUsize>,
    /// Finished runs whose trainings are taken over where they are this suite's.
    pub pretrained: Vec<PathBuf>,
    /// Train, and measure nothing.
    pub pretrain_only: bool,
    /// Only say what would be done, and what it costs on this device.
    pub dry_run: Option<DeviceName>,
}

/// Seconds of the phases of one call.
#[derive(Clone, Copy, Debug, Default)]
struct Phases {
    data: f64,
    training: f64,
    probes: f64,
}

/// A part that has its data open: nothing is left to refuse.
struct Prepared {
    part: SubSuite,
    opened: OpenedPack,
    /// Where every training starts, if not at random.
    init: Option<Parameters>,
    sets: Sets,
    /// What identifies the packs of these sets, by name.
    packs: BTreeMap<String, String>,
    /// Hashes of the files of external rows, by their slugs.
    rows: BTreeMap<String, String>,
}

/// A part at work, with its images.
pub(crate) struct RunContext<'a> {
    pub(crate) part: &'a SubSuite,
    pub(crate) opened: &'a OpenedPack,
    init: Option<&'a Parameters>,
    pub(crate) store: &'a RunFolder,
    pub(crate) compute: Compute,
    pub(crate) worker: &'a Worker<'a>,
    pub(crate) train: PairSource,
    pub(crate) test: PairSource,
    /// Ranks that work on one training.
    ranks_per_cell: usize,
    /// Packs of the suite's `transfer` and `segmentation`, in their order.
    pub(crate) sets: &'a Sets,
}

/// How a training ended.
enum End {
    Trained,
    Diverged,
    Stopped,
}

/// Packs that encoders are measured on beside the part's own.
pub(crate) struct Sets {
    pub(crate) transfer: Vec<Pack>,
    pub(crate) segmentation: Vec<Pack>,
}

/// Runs the suite, one data set after the other. Errors before the first cell leave every rank with the same exit code 2; later ones end
/// all ranks with 3.
///
/// # Errors
/// Bad input (2), or a run that failed (3).
pub fn run(request: &RunRequest, ranks: &dyn Collective) -> Outcome<()> {
    let parts = agree(ranks, data_sets::load(&request.suite, &request.set, &request.rows))?;
    let mut worker = Worker::start(ranks, request.threads)?;
    worker.micro_batch = agree(ranks, micro_batch(&parts, request))?;
    let ranks_per_cell = agree(ranks, ranks_per_cell(&parts, request, ranks.size()))?;
    if request.dry_run.is_some() {
        return agree(ranks, if worker.leads() { dry_run::describe(&parts, request, &worker) } else { Ok(()) });
    }
    agree(ranks, stop_signal::listen())?;
    let store = RunFolder::at(&request.out);
    let claimed = if worker.leads() { RunLock::take(store.root()).map(Some) } else { Ok(None) };
    let _claim = agree(ranks, claimed)?;
    let compute = precision(request.precision, &store, &worker);
    let check = || manifest::check(&store, &parts, compute).and_then(|()| reuse::check(&request.pretrained));
    agree(ranks, if worker.leads() { check() } else { Ok(()) })?;

    let mut phases = Phases::default();
    let start = Instant::now();
    let prepare = |part| prepare(part, request, &store, compute, &worker);
    let prepared = parts.into_iter().map(prepare).collect::<Outcome<Vec<Prepared>>>()?;
    establish(&prepared, &store, compute, &worker)?;
    let contexts: Vec<ReportContext> =
        prepared.iter().map(|prepared| prepared.report_context(manifest::precision_name(compute))).collect();
    if worker.leads() {
        // so that `report` works on a half-finished run too
        report::write_contexts(&store, &contexts).map_err(Failure::run)?;
    }
    let own: Vec<&SubSuite> = prepared.iter().map(|prepared| &prepared.part).collect();
    agree(ranks, if worker.leads() { reuse::adopt(&store, &own, &request.pretrained) } else { Ok(()) })?;
    phases.data = start.elapsed().as_secs_f64();

    let (mut diverged, mut failed) = (Vec::new(), Vec::new());
    for Prepared { part, opened, init, sets, .. } in &prepared {
        let start = Instant::now();
        let source = |split| PairSource::new(opened, split, &part.suite.transforms, worker.device);
        let train = agree(ranks, source("train"))?;
        let test = agree(ranks, source("test"))?;
        let (store, worker, init) = (&store, &worker, init.as_ref());
        let run = RunContext { part, opened, init, store, compute, worker, train, test, ranks_per_cell, sets };
        phases.data += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let stopped = run.pretrain()?;
        give_back_memory();
        phases.training += start.elapsed().as_secs_f64();
        let start = Instant::now();
        if !request.pretrain_only {
            failed.extend(measure_cells::all(&run, &stopped)?);
        }
        ranks.barrier();
        phases.probes += start.elapsed().as_secs_f64();
        diverged.extend(stopped);
    }
    // where everything diverged there is nothing to report
    if worker.leads()
        && !request.pretrain_only
        && ((diverged.is_empty() && failed.is_empty()) || !store.cells().map_err(Failure::run)?.is_empty())
    {
        finish(&store, &contexts, phases).map_err(Failure::run)?;
    }
    let measured = measure_cells::outcome(&store, &failed);
    if diverged.is_empty() {
        return measured;
    }
    if let Err(failure) = measured {
        say(&failure.message());
    }
    let cells: Vec<String> = diverged.iter().map(EncoderRun::pretrain_id).collect();
    let hint = "hint: failed/ tells where; the same command again retries from the last good checkpoint, a lower train.lr needs a new --out";
    Err(Failure { agreed: true, ..Failure::run(anyhow!("diverged: {}\n{hint}", cells.join(", "))) })
}

/// Opens a part's data set and makes sure that all of it can be built.
fn prepare(
    part: SubSuite,
    request: &RunRequest,
    store: &RunFolder,
    compute: Compute,
    worker: &Worker,
) -> Outcome<Prepared> {
    let ranks = worker.ranks;
    let opened = open::open(&part, &request.data_roots, store, worker)?;
    // every shape is built once before anything is trained
    let buildable = part.suite.method_kinds().and_then(|kinds| {
        kinds.iter().try_for_each(|kind| network(kind, &part.suite, &opened, 0, compute, worker.device).map(|_| ()))
    });
    agree(ranks, buildable)?;
    let init = agree(ranks, initial_encoder(&part.suite, &opened))?;
    let starts_from = init.as_ref().map(|encoder| encoder.blake3.as_str());
    same_everywhere(ranks, "train.init", starts_from.unwrap_or_default())?;
    same_everywhere(ranks, "the data set", &opened.pack.content)?;
    let sets = agree(ranks, open_sets(&part.suite, &request.data_roots))?;
    agree(ranks, segmentable(&part.suite, &opened, &sets))?;
    let packs = sets.transfer.iter().chain(&sets.segmentation);
    let packs = packs.map(|pack| (pack.name.clone(), pack.content.clone())).collect();
    warn_of_scripts(&part.suite);
    let rows = agree(ranks, row_hashes(&part.suite))?;
    same_everywhere(ranks, "the files of rows and sets", &format!("{packs:?} {rows:?}"))?;
    Ok(Prepared { part, opened, init, sets, packs, rows })
}

fn open_sets(suite: &Suite, roots: &[PathBuf]) -> Result<Sets> {
    let open = |file: &str, made_by: &str| Ok::<_, anyhow::Error>(Pack::open(open::find(file, made_by, roots)?)?);
    let transfer: Vec<Pack> = suite.transfer.iter().map(|set| open(&set.file, &set.made_by)).collect::<Result<_>>()?;
    let segmentation: Vec<Pack> =
        suite.segmentation.iter().map(|set| open(&set.file, &set.made_by)).collect::<Result<_>>()?;
    let all: Vec<&Pack> = transfer.iter().chain(&segmentation).collect();
    for (i, pack) in all.iter().enumerate() {
        let twice = all[..i].iter().any(|other| other.name == pack.name);
        ensure!(
            !twice,
            "transfer, segmentation: two of the packs are called {}\nhint: pack one of them again with another --name",
            pack.name
        );
    }
    Ok(Sets { transfer, segmentation })
}

/// Whether the sets of segmentation have masks, and the suite's networks can be brought to the side of the crops.
fn segmentable(suite: &Suite, opened: &OpenedPack, sets: &Sets) -> Result<()> {
    for (set, pack) in suite.segmentation.iter().zip(&sets.segmentation) {
        scenes::classes(pack)?;
        for split in ["train", "test"] {
            let (masks, path) = (pack.expect_split(split)?.has_masks(), pack.path().display());
            ensure!(masks, "segmentation, {path}: the {split} images have no masks\nhint: {}", set.made_by);
        }
        if !suite.methods.is_empty() {
            let crops = VitConfig { image: set.head.crop, ..model_config(suite, opened).encoder };
            crops.validate().with_context(|| format!("segmentation, {}: head.crop = {}", set.file, set.head.crop))?;
        }
    }
    Ok(())
}

/// What the files of external rows hold: what cannot be found is said before the first step.
fn row_hashes(suite: &Suite) -> Result<BTreeMap<String, String>> {
    let identity = |row: &ExternalRow| {
        let hash = |path: &Path| hash_of(path).with_context(|| format!("rows: `{}`: {}", row.name, path.display()));
        Ok((row.slug(), row.identity(hash)?))
    };
    suite.rows.iter().map(identity).collect()
}

/// Says once which rows run code of others, whatever rank measures them.
fn warn_of_scripts(suite: &Suite) {
    let scripts = suite.rows.iter().filter_map(|row| Some((row, row.encoder.as_ref()?)));
    for (row, path) in scripts.filter(|(_, path)| frozen::is_script(path)) {
        say(&format!("note: rows: `{}`: {} is TorchScript: it runs code of its author", row.name, path.display()));
    }
}

/// BLAKE3 of a file; of a checkpoint's folder, of its manifest, which holds the hashes of the others.
fn hash_of(path: &Path) -> Result<String> {
    let file = if path.is_dir() { frozen::checkpoint_in(path)?.join("manifest.json") } else { path.to_owned() };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The folder becomes a run, now that nothing is left to refuse.
fn establish(prepared: &[Prepared], store: &RunFolder, compute: Compute, worker: &Worker) -> Outcome<()> {
    let ranks = worker.ranks;
    let hosts = texts(ranks, &host());
    let established = if worker.leads() {
        let read = prepared.iter().map(|Prepared { part, opened, init, packs, .. }| manifest::Read {
            part,
            packs,
            data: &opened.pack.content,
            init: init.as_ref().map(|encoder| encoder.blake3.as_str()),
        });
        let rows = prepared.iter().flat_map(|prepared| prepared.rows.clone()).collect();
        manifest::establish(store, &read.collect::<Vec<_>>(), compute, provenance(worker, &hosts))
            .and_then(|()| row_files::record(store, &rows))
    } else {
        Ok(())
    };
    agree(ranks, established)?;
    let manifest = std::fs::read_to_string(store.path("manifest.json")).map_err(|_| {
        let hint = "hint: --out must lie on a file system that all ranks share";
        anyhow!("{} is not the leading rank's folder\n{hint}", store.root().display())
    });
    same_everywhere(ranks, "manifest.json", &agree(ranks, manifest)?)
}

/// Writes the report and says how long the phases took.
fn finish(store: &RunFolder, contexts: &[ReportContext], phases: Phases) -> Result<()> {
    report::write(store, contexts)?;
    let line = json!({"phase_seconds": {"data": phases.data, "training": phases.training, "probes": phases.probes}});
    store.log(&line)?;
    write_atomic(&store.path("timing.json"), serde_json::to_string_pretty(&line["phase_seconds"])?.as_bytes())?;
    say(&format!("data {:.1} s, training {:.1} s, probes {:.1} s", phases.data, phases.training, phases.probes));
    say(&format!("report: {}", store.path("tables").display()));
    let contexts: Vec<&ReportContext> = contexts.iter().collect();
    let cells = store.cells()?;
    let report = Report { folder: store, cells: &cells, contexts: &contexts, table: None, problems: &[] };
    print_text(&report.render(report::formats::TERMINAL)?)
}

impl Prepared {
    /// What the report needs beside the cells.
    fn report_context(&self, precision: &str) -> ReportContext {
        let suite = &self.part.suite;
        let tasks = tasks(self.opened.pack.kind, &suite.transforms).into_iter().map(|(name, _)| name);
        let own = rows(suite).expect("loading checked the names").into_iter().map(|row| row.to_string());
        let column = |(set, pack): (&TransferSet, &Pack)| TransferColumn {
            dataset: pack.name.clone(),
            metric: set.metric.name().to_owned(),
        };
        ReportContext {
            part: self.part.key.clone(),
            suite: suite.name.clone(),
            title: suite.title.clone(),
            scale: suite.scale,
            table: suite.table,
            tasks: ["classification".to_owned()].into_iter().chain(tasks).collect(),
            methods: own.chain(suite.rows.iter().map(|row| row.name.clone())).collect(),
            compare: suite.compare.clone(),
            transfers: suite.transfer.iter().zip(&self.sets.transfer).map(column).collect(),
            segmentations: self.sets.segmentation.iter().map(|pack| pack.name.clone()).collect(),
            notes: suite.notes.clone(),
            protocol: report::choices(&json!(suite), precision),
        }
    }
}

impl RunContext<'_> {
    pub(crate) fn suite(&self) -> &Suite {
        &self.part.suite
    }

    pub(crate) fn entries(&self) -> Outcome<Vec<EncoderRun>> {
        entries(self.part).map_err(Failure::bad_input)
    }

    pub(crate) fn network(&self, entry: &EncoderRun) -> Result<Network> {
        network(&entry.row.kind, self.suite(), self.opened, entry.seed, self.compute, self.worker.device)
    }

    /// The steps of the training of `entry` on `units` units.
    pub(crate) fn course(&self, entry: &EncoderRun, units: usize) -> TrainingSteps {
        TrainingSteps::new(self.suite(), entry.row.budget, units, self.train.units().len())
    }

    /// The pairs that `entry` trains on.
    pub(crate) fn training(&self, entry: &EncoderRun) -> Result<PairSource> {
        training_part(self.suite(), &self.train, &entry.row.kind, entry.seed)
    }

    pub(crate) fn checkpoints(&self, entry: &EncoderRun) -> Checkpoints {
        Checkpoints { folder: self.store.path("checkpoints").join(entry.slug()) }
    }

    /// The ranks work on the trainings in groups of `ranks_per_cell`, group g on every g-th of them. Returns the entries whose training
    /// diverged; the others went on.
    fn pretrain(&self) -> Outcome<Vec<EncoderRun>> {
        let ranks = self.worker.ranks;
        let wanted: Vec<EncoderRun> = self.entries()?.into_iter().filter(|entry| entry.row.kind.trains()).collect();
        let missing: Vec<&EncoderRun> = wanted.iter().filter(|entry| !self.store.has(&entry.pretrain_id())).collect();
        let names: Vec<String> = missing.iter().map(|entry| entry.pretrain_id()).collect();
        // also: all ranks have looked before one writes
        same_everywhere(ranks, "the list of finished cells", &names.join(" "))?;
        let groups = ranks.size() / self.ranks_per_cell;
        let group = ranks.rank() / self.ranks_per_cell;
        let own;
        let worker = if groups > 1 {
            own = ranks.split(group);
            &self.worker.among(&*own)?
        } else {
            self.worker
        };
        let (mut diverged, mut stopped) = (Vec::new(), false);
        for i in (group..missing.len()).step_by(groups) {
            let set = missing[i].part.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
            let label = format!("[{}/{}] {set}{}, seed {}", i + 1, missing.len(), missing[i].row, missing[i].seed);
            stopped = stop_signal::asked_of_any(worker.ranks);
            if stopped {
                break;
            }
            let end = self.train_one(missing[i], label, worker);
            // a group's agreement is none of the others', who have to be ended
            match end.map_err(|failure| Failure { agreed: failure.agreed && groups == 1, ..failure })? {
                End::Diverged if worker.leads() => diverged.push(i as f64),
                End::Trained | End::Diverged => (),
                End::Stopped => {
                    stopped = true;
                    break;
                }
            }
        }
        if stop_signal::any(ranks, stopped) {
            return Err(stop_signal::stopped());
        }
        // every group's leader tells all ranks
        Ok(gathered(ranks, &diverged).into_iter().map(|i| missing[i as usize].clone()).collect())
    }

    /// Trains one cell and writes it.
    fn train_one(&self, entry: &EncoderRun, label: String, worker: &Worker) -> Outcome<End> {
        let source = self.training(entry).map_err(Failure::run)?;
        let course = self.course(entry, source.units().len());
        let job = TrainingJob {
            suite: self.suite(),
            source: &source,
            course,
            seed: entry.seed,
            curve: curve_steps(self.suite(), entry.row.budget, course.per_epoch),
            checkpoints: self.checkpoints(entry),
            store: self.store,
            cell: entry.pretrain_id(),
            label,
            worker,
        };
        let mut network = self.network(entry).map_err(Failure::run)?;
        if let Some(encoder) = self.init {
            encoder.start(&mut network).map_err(Failure::run)?;
        }
        let (end, written) = match train(&mut network, &job) {
            Ok(trained) if worker.leads() => (End::Trained, self.write_trained(entry, &job, trained)),
            Ok(_) => (End::Trained, Ok(())),
            Err(TrainingStop::Failed(failure)) => return Err(failure),
            Err(TrainingStop::Diverged(divergence)) if worker.leads() => {
                (End::Diverged, self.write_diverged(&job, &divergence))
            }
            Err(TrainingStop::Diverged(_)) => (End::Diverged, Ok(())),
            Err(TrainingStop::Asked) => (End::Stopped, Ok(())),
        };
        written.map_err(Failure::run)?;
        Ok(end)
    }

    fn write_trained(
        &self,
        entry: &EncoderRun,
        job: &TrainingJob,
        FinishedTraining { state, resumed }: FinishedTraining,
    ) -> Result<()> {
        let loss = state.curve.last().map_or(f64::NAN, |point| point.terms["loss"]);
        let views = 2.0 * (state.step * self.suite().train.batch as u64) as f64;
        let rate = views / state.seconds;
        say(&format!("{}: {} steps, {:.1} s, {rate:.0} views/s, loss {loss:.4}", job.label, state.step, state.seconds));
        let cell = Cell {
            schema: SCHEMA,
            id: job.cell.clone(),
            kind: CellKind::Pretrain,
            part: entry.part.clone(),
            method: entry.row.to_string(),
            pretrain_seed: entry.seed,
            step: state.step,
            last: true,
            metrics: Vec::new(),
            curve: state.curve,
            seconds: state.seconds,
            resumed,
            external: false,
        };
        self.store.write_cell(&cell)?;
        self.store.clear_failed(&job.cell)?;
        let line =
            json!({"cell": cell.id, "steps": cell.step, "seconds": cell.seconds, "views_per_s": rate, "loss": loss});
        self.store.log(&line)
    }

    /// The report of a training that came to something that is not a number.
    fn write_diverged(&self, job: &TrainingJob, divergence: &Divergence) -> Result<()> {
        // a damaged one has been set aside when the training began
        let last_good = job.checkpoints.steps()?.first().map(|&step| job.checkpoints.at_step(step));
        let mut report = divergence.report();
        report["cell"] = json!(job.cell);
        report["batch"] = json!(batch_units(job, divergence.step));
        report["last_good_checkpoint"] = json!(last_good);
        let path = self.store.write_failed(&job.cell, &report)?;
        let last_good = last_good.map_or("none".to_owned(), |path| path.display().to_string());
        say(&format!("{}: {divergence}; last good checkpoint: {last_good}; report: {}", job.label, path.display()));
        self.store.log(&json!({"cell": job.cell, "diverged": report}))
    }
}

/// The ranks of a training, which must divide those of the launch and have a pair each.
fn ranks_per_cell(parts: &[SubSuite], request: &RunRequest, size: usize) -> Result<usize> {
    let ranks = request.ranks_per_cell.map_or(size, NonZeroUsize::get);
    if !size.is_multiple_of(ranks) {
        bail!("--ranks-per-cell {ranks} does not divide the {size} ranks");
    }
    if let Some(batch) = parts.iter().map(|part| part.suite.train.batch).find(|&batch| batch < ranks) {
        bail!("train.batch = {batch} is smaller than the {ranks} ranks\nhint: start fewer ranks or raise train.batch");
    }
    Ok(ranks)
}

/// The micro-batch asked for, which must divide the batch.
fn micro_batch(parts: &[SubSuite], request: &RunRequest) -> Result<Option<i64>> {
    let Some(pairs) = request.micro_batch.map(NonZeroUsize::get) else { return Ok(None) };
    let mut batches = parts.iter().map(|part| part.suite.train.batch);
    if let Some(batch) = batches.find(|batch| !batch.is_multiple_of(pairs)) {
        bail!("--micro-batch {pairs} does not divide train.batch = {batch}");
    }
    Ok(Some(pairs as i64))
}

/// The encoder of `train.init`, which must fit the suite's.
fn initial_encoder(suite: &Suite, opened: &OpenedPack) -> Result<Option<Parameters>> {
    let Some(path) = &suite.train.init else { return Ok(None) };
    let place = || format!("train.init = {}", path.display());
    let encoder = Parameters::read(path).with_context(place)?;
    let fitted = encoder.fitted(&model_config(suite, opened).encoder).with_context(place);
    fitted.map_err(|error| anyhow!("{error:#}\nhint: set model.* to the file's shapes"))?;
    Ok(Some(encoder))
}

/// Rank 0's choice, frozen in the manifest: `auto` in a run that exists is what it was begun with.
fn precision(asked: Precision, store: &RunFolder, worker: &Worker) -> Compute {
    let frozen = if asked == Precision::Auto { manifest::precision(store) } else { None };
    let own = frozen.unwrap_or_else(|| asked.resolve(worker.device));
    let mut choice = Tensor::from_slice(&[f64::from(u8::from(own == Compute::Bf16))]);
    worker.ranks.broadcast(&mut choice);
    if choice.double_value(&[0]) > 0.5 { Compute::Bf16 } else { Compute::F32 }
}
