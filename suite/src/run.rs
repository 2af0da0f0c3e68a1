//! `eqr-bench run`: pretrain what is missing, probe what is missing, write the report.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use eqr_datasets::Kind;
use eqr_models::{Collective, Compute};
use serde_json::json;
use tch::Tensor;

use crate::checkpoint;
use crate::cli::print_text;
use crate::cluster::{Precision, Worker, agree, same_everywhere};
use crate::config::Suite;
use crate::data::{self, Opened};
use crate::evaluate::{Evaluation, Extent};
use crate::failure::{Failure, Outcome};
use crate::known::{known_part, training_part};
use crate::manifest;
use crate::pairs::{PairSource, tasks};
use crate::pictures;
use crate::plan::{Entry, curve_steps, entries};
use crate::progress::{Progress, say};
use crate::report;
use crate::store::{Cell, CellKind, SCHEMA, Store, write_atomic};
use crate::train::{Checkpoints, Network, network, steps_per_epoch, train};

/// What `run` was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Preset or TOML file.
    pub suite: String,
    /// The run's folder.
    pub out: PathBuf,
    /// Folders with packs.
    pub data_roots: Vec<PathBuf>,
    /// `key=value` overrides of the suite.
    pub set: Vec<String>,
    /// Number type.
    pub precision: Precision,
    /// Threads a rank.
    pub threads: Option<NonZeroUsize>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Seconds of the phases of one call.
#[derive(Clone, Copy, Debug, Default)]
struct Phases {
    data: f64,
    training: f64,
    probes: f64,
}

/// A run that has its data.
struct Run<'a> {
    suite: Suite,
    opened: Opened,
    store: Store,
    compute: Compute,
    worker: Worker<'a>,
    train: PairSource,
    test: PairSource,
}

/// Runs the suite. Errors before the first cell leave every rank with the same exit code 2; later ones end all ranks with 3.
///
/// # Errors
/// Bad input (2), or a run that failed (3).
pub fn run(request: &Request, ranks: &dyn Collective) -> Outcome<()> {
    let suite = agree(ranks, Suite::load(&request.suite, &request.set))?;
    let worker = Worker::start(ranks, request.threads)?;
    if suite.train.batch < ranks.size() {
        let (batch, size) = (suite.train.batch, ranks.size());
        let hint = "hint: start fewer ranks or raise train.batch";
        return Err(Failure::bad_input(anyhow!("train.batch = {batch} is smaller than the {size} ranks\n{hint}")));
    }
    if request.dry_run {
        if worker.leads() {
            agree(&eqr_models::Solo, describe(&suite))?;
        }
        return Ok(());
    }
    let store = Store::at(&request.out);
    let compute = precision(request.precision, &store, &worker);
    let checked = if worker.leads() { manifest::check(&store, &suite, compute) } else { Ok(()) };
    agree(ranks, checked)?;

    let mut phases = Phases::default();
    let start = Instant::now();
    let opened = data::open(&suite, &request.data_roots, &store, &worker)?;
    // every shape is built once before anything is trained
    let buildable = suite.method_kinds().and_then(|kinds| {
        kinds.iter().try_for_each(|kind| network(kind, &suite, &opened, 0, compute, worker.device).map(|_| ()))
    });
    agree(ranks, buildable)?;
    let content = &opened.pack.content;
    same_everywhere(ranks, "the data set", content)?;
    // the folder becomes a run only when nothing is left to refuse
    let established =
        if worker.leads() { manifest::establish(&store, &suite, compute, content, &worker) } else { Ok(()) };
    agree(ranks, established)?;
    let manifest = std::fs::read_to_string(store.path("manifest.json")).map_err(|_| {
        let hint = "hint: --out must lie on a file system that all ranks share";
        anyhow!("{} is not the leading rank's folder\n{hint}", request.out.display())
    });
    same_everywhere(ranks, "manifest.json", &agree(ranks, manifest)?)?;
    let source = |split| PairSource::new(&opened, split, &suite.transforms, worker.device);
    let train = agree(ranks, source("train"))?;
    let test = agree(ranks, source("test"))?;
    phases.data = start.elapsed().as_secs_f64();
    let run = Run { suite, opened, store, compute, worker, train, test };
    if run.worker.leads() {
        run.write_context().map_err(Failure::run)?;
    }

    let start = Instant::now();
    run.pretrain()?;
    phases.training = start.elapsed().as_secs_f64();
    let start = Instant::now();
    run.probe()?;
    run.worker.ranks.barrier();
    phases.probes = start.elapsed().as_secs_f64();
    if run.worker.leads() {
        run.finish(phases).map_err(Failure::run)?;
    }
    Ok(())
}

impl Run<'_> {
    fn entries(&self) -> Outcome<Vec<Entry>> {
        entries(&self.suite).map_err(Failure::bad_input)
    }

    fn network(&self, entry: &Entry) -> Outcome<Network> {
        network(&entry.kind, &self.suite, &self.opened, entry.seed, self.compute, self.worker.device)
            .map_err(Failure::run)
    }

    /// The pairs that `entry` trains on.
    fn training(&self, entry: &Entry) -> Result<PairSource> {
        training_part(&self.suite, &self.train, &entry.kind, entry.seed)
    }

    fn checkpoints(&self, entry: &Entry) -> Checkpoints {
        Checkpoints { folder: self.store.path("checkpoints").join(entry.slug()) }
    }

    /// Every rank works on every training.
    fn pretrain(&self) -> Outcome<()> {
        let wanted: Vec<Entry> = self.entries()?.into_iter().filter(|entry| entry.kind.trains()).collect();
        let missing: Vec<&Entry> = wanted.iter().filter(|entry| !self.store.has(&entry.pretrain_id())).collect();
        let names: Vec<String> = missing.iter().map(|entry| entry.pretrain_id()).collect();
        // also: all ranks have looked before one writes
        same_everywhere(self.worker.ranks, "the list of finished cells", &names.join(" "))?;
        for (i, entry) in missing.iter().enumerate() {
            let label = format!("[{}/{}] {}, seed {}", i + 1, missing.len(), entry.kind, entry.seed);
            let mut network = self.network(entry)?;
            let checkpoints = self.checkpoints(entry);
            let pairs = self.training(entry).map_err(Failure::run)?;
            let trained = train(&mut network, &self.suite, &pairs, entry.seed, &checkpoints, &self.worker, &label)?;
            if !self.worker.leads() {
                continue;
            }
            let loss = trained.state.curve.last().map_or(f64::NAN, |point| point.terms["loss"]);
            let views = 2.0 * (trained.state.step * self.suite.train.batch as u64) as f64;
            let rate = views / trained.state.seconds;
            say(&format!(
                "{label}: {} steps, {:.1} s, {rate:.0} views/s, loss {loss:.4}",
                trained.state.step, trained.state.seconds
            ));
            let cell = Cell {
                schema: SCHEMA,
                id: entry.pretrain_id(),
                kind: CellKind::Pretrain,
                method: entry.kind.to_string(),
                pretrain_seed: entry.seed,
                step: trained.state.step,
                last: true,
                metrics: Vec::new(),
                curve: trained.state.curve,
                seconds: trained.state.seconds,
                resumed: trained.resumed,
            };
            self.store.write_cell(&cell).map_err(Failure::run)?;
            let line = json!({"cell": cell.id, "steps": cell.step, "seconds": cell.seconds, "views_per_s": rate, "loss": loss});
            self.store.log(&line).map_err(Failure::run)?;
        }
        self.worker.ranks.barrier();
        Ok(())
    }

    /// Probe cells are independent: rank r takes every size-th of them.
    fn probe(&self) -> Outcome<()> {
        let missing: Vec<(Entry, Option<u64>)> =
            self.probe_cells()?.into_iter().filter(|(entry, step)| !self.store.has(&probe_id(entry, *step))).collect();
        let names: Vec<String> = missing.iter().map(|(entry, step)| probe_id(entry, *step)).collect();
        same_everywhere(self.worker.ranks, "the list of finished cells", &names.join(" "))?;
        let progress = Progress::new("probes");
        let mine = missing.iter().skip(self.worker.ranks.rank()).step_by(self.worker.ranks.size());
        for (done, (entry, step)) in mine.enumerate() {
            let cell = self.probe_one(entry, *step).map_err(Failure::run)?;
            self.store.write_cell(&cell).map_err(Failure::run)?;
            progress.at(((done + 1) * self.worker.ranks.size()) as u64, missing.len() as u64);
        }
        progress.finish();
        Ok(())
    }

    /// Final probes, and those of the curve.
    fn probe_cells(&self) -> Outcome<Vec<(Entry, Option<u64>)>> {
        let mut cells: Vec<(Entry, Option<u64>)> = self.entries()?.into_iter().map(|entry| (entry, None)).collect();
        for i in 0..cells.len() {
            let entry = cells[i].0.clone();
            if entry.kind.trains() {
                let units = self.training(&entry).map_err(Failure::run)?.units().len();
                let steps = curve_steps(&self.suite, steps_per_epoch(&self.suite, units));
                cells.extend(steps.into_iter().map(|step| (entry.clone(), Some(step))));
            }
        }
        Ok(cells)
    }

    fn probe_one(&self, entry: &Entry, step: Option<u64>) -> Result<Cell> {
        let start = Instant::now();
        let mut network =
            network(&entry.kind, &self.suite, &self.opened, entry.seed, self.compute, self.worker.device)?;
        let total = steps_per_epoch(&self.suite, self.training(entry)?.units().len()) * self.suite.train.epochs;
        let trained_steps = if entry.kind.trains() { step.unwrap_or(total) } else { 0 };
        if entry.kind.trains() {
            let checkpoints = self.checkpoints(entry);
            let path = step.map_or_else(|| checkpoints.last(), |step| checkpoints.at_step(step));
            checkpoint::load_parameters(&path, &mut network.arena, trained_steps).map_err(|error| {
                let (slug, cell) = (entry.slug(), entry.pretrain_id());
                let again = "run again, the training then starts anew";
                anyhow!("{error:#}\nhint: remove checkpoints/{slug} and cells/{cell}.json and {again}")
            })?;
        }
        let known = known_part(&self.suite, &self.train, entry.seed)?;
        let evaluation = Evaluation { suite: &self.suite, pack: &self.opened.pack, train: &known, test: &self.test };
        let extent = if step.is_none() { Extent::Full } else { Extent::CurvePoint };
        let (id, method) = (probe_id(entry, step), entry.kind.to_string());
        let values = evaluation.run(&network, extent)?;
        let metric =
            |value: crate::evaluate::Value| value.metric(&self.suite, &self.opened.pack, &method, entry.seed, &id);
        let metrics = values.into_iter().map(metric).collect();
        if step.is_none()
            && entry.seed == 0
            && let Some(images) = evaluation.reconstructions(&network, 8)?
        {
            let path = self.store.path("figures").join(format!("reconstruction-{}.png", entry.slug()));
            pictures::rows(&images, &path)?;
        }
        Ok(Cell {
            schema: SCHEMA,
            id,
            kind: CellKind::Probe,
            method: method.clone(),
            pretrain_seed: entry.seed,
            step: trained_steps,
            last: step.is_none(),
            metrics,
            curve: Vec::new(),
            seconds: start.elapsed().as_secs_f64(),
            resumed: false,
        })
    }

    /// So that `report` works on a half-finished run too.
    fn write_context(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&report_context(&self.suite, self.opened.pack.kind))?;
        write_atomic(&self.store.path("report.json"), text.as_bytes())
    }

    fn finish(&self, phases: Phases) -> Result<()> {
        let context = report_context(&self.suite, self.opened.pack.kind);
        report::write(&self.store, &context)?;
        let line =
            json!({"phase_seconds": {"data": phases.data, "training": phases.training, "probes": phases.probes}});
        self.store.log(&line)?;
        write_atomic(
            &self.store.path("timing.json"),
            serde_json::to_string_pretty(&line["phase_seconds"])?.as_bytes(),
        )?;
        say(&format!("data {:.1} s, training {:.1} s, probes {:.1} s", phases.data, phases.training, phases.probes));
        say(&format!("report: {}", self.store.path("tables").display()));
        print_text(&report::render(&self.store.cells()?, &context, report::Format::Terminal)?)
    }
}

/// Rank 0's choice, frozen in the manifest: `auto` in a run that exists is what it was begun with.
fn precision(asked: Precision, store: &Store, worker: &Worker) -> Compute {
    let frozen = if asked == Precision::Auto { manifest::precision(store) } else { None };
    let own = frozen.unwrap_or_else(|| asked.resolve(worker.device));
    let mut choice = Tensor::from_slice(&[f64::from(u8::from(own == Compute::Bf16))]);
    worker.ranks.broadcast(&mut choice);
    if choice.double_value(&[0]) > 0.5 { Compute::Bf16 } else { Compute::F32 }
}

fn probe_id(entry: &Entry, step: Option<u64>) -> String {
    step.map_or_else(|| entry.probe_id(), |step| entry.probe_id_at(step))
}

/// What the report needs beside the cells.
fn report_context(suite: &Suite, kind: Kind) -> report::ReportContext {
    let tasks = tasks(kind, &suite.transforms).into_iter().map(|(name, _)| name);
    report::ReportContext {
        suite: suite.name.clone(),
        title: suite.title.clone(),
        scale: suite.scale,
        table: suite.table,
        tasks: ["classification".to_owned()].into_iter().chain(tasks).collect(),
        methods: suite.methods.clone(),
        notes: suite.notes.clone(),
    }
}

/// Reads the report's context of a finished or half-finished run.
///
/// # Errors
/// A folder that holds no run.
pub fn stored_context(store: &Store) -> Result<report::ReportContext> {
    let path = store.path("report.json");
    if !path.exists() {
        bail!("{} holds no run: report.json is missing\nhint: `eqr-bench run` writes it", store.root().display());
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(&path)?)?)
}

/// `--dry-run`: the cells in their order.
fn describe(suite: &Suite) -> Result<()> {
    println!("suite {}: {} methods x {} seeds", suite.name, suite.methods.len(), suite.seeds);
    for entry in entries(suite)? {
        if entry.kind.trains() {
            println!("{}", entry.pretrain_id());
        }
        println!("{}", entry.probe_id());
    }
    Ok(())
}
