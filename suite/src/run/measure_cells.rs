//! The measurements of a part's rows, one cell each: probes, linear transfer, segmentation. They are independent: rank r takes every size-th
//! of them, and one that fails leaves the others be.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use eqr_datasets::Pack;
use eqr_models::Solo;
use eqr_probes::linear_classification::classify;
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::confusion::SegmentationScore;
use eqr_probes::transfer::{Transfer, transfer};
use serde_json::json;
use tch::Tensor;

use crate::cluster::agreement::{gathered, same_everywhere};
use crate::cluster::stop_signal;
use crate::console::Progress;
use crate::data::known_part::known_part;
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::data::scenes::{self, PackScenes};
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::network::Network;
use crate::encoder::representation::FeatureEncoder;
use crate::encoder::vit_file::Parameters;
use crate::failure::{BAD_INPUT, Failure, Outcome, RUN_FAILED};
use crate::measure::feature_file::FeatureFile;
use crate::measure::probe::{Evaluation, ProbeScope, top1};
use crate::measure::segment::{self, Segmented};
use crate::measure::transfer::{Reader, transfer_data};
use crate::measure::{imported_results, pictures, reconstruction, regression, retrieval};
use eqr_models::Normalisation;
use crate::run::RunContext;
use crate::run_folder::cell::{Cell, CellKind, SCHEMA};
use crate::run_folder::checkpoint;
use crate::run_folder::metric::{Better, MeasuredValue, ValueOrigin};
use crate::run_folder::store::RunFolder;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::downstream_sets::{SegmentationSet, TransferSet};
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::plan::{EncoderRun, curve_steps, entries};
use crate::suite_file::suite::{Probe, ReadoutHalf, Suite};
use crate::suite_file::tasks::tasks;

/// Tables of the paper that linear transfer and segmentation stand in.
const TRANSFER_TABLE: u8 = 5;

const SEGMENTATION_TABLE: u8 = 6;

/// Scenes that are drawn of a row's first head.
const PICTURES: usize = 6;

/// Whose encoder is measured.
#[derive(Clone)]
enum Subject {
    /// Pretrained in this run.
    Own(EncoderRun),
    /// Somebody else's.
    External(ExternalRow),
}

/// What is measured of it.
#[derive(Clone, Copy)]
enum Task {
    /// Probes at the end of the training, or after some steps of it.
    Probe(Option<u64>),
    /// Transfer to a set of the suite, by its position.
    Transfer(usize),
    /// Segmentation of a set of the suite, by its position, with a seed of the head.
    Segment(usize, u64),
}

impl Task {
    fn kind(self) -> CellKind {
        match self {
            Task::Probe(_) => CellKind::Probe,
            Task::Transfer(_) => CellKind::Transfer,
            Task::Segment(..) => CellKind::Segment,
        }
    }
}

/// A cell to be.
struct Measurement {
    id: String,
    subject: Subject,
    task: Task,
}

/// A measurement that came to nothing.
pub struct Failed {
    cell: String,
    code: i32,
}

/// Does what is missing of the measurements of a part and returns those that failed. There is nothing to measure of a training that diverged.
///
/// # Errors
/// Ranks that see different cells, a cell that cannot be written, and a wish to stop with measurements left.
pub(crate) fn all(run: &RunContext, diverged: &[EncoderRun]) -> Outcome<Vec<Failed>> {
    let ranks = run.worker.ranks;
    let of_diverged = |subject: &Subject| matches!(subject, Subject::Own(entry) if diverged.contains(entry));
    let mut missing = measurements(run)?;
    missing.retain(|measurement| !of_diverged(&measurement.subject) && !run.store.has(&measurement.id));
    let names: Vec<&str> = missing.iter().map(|measurement| measurement.id.as_str()).collect();
    same_everywhere(ranks, "the list of finished cells", &names.join(" "))?;
    let progress = Progress::new("measurements");
    let (mut failed, mut stopped) = (Vec::new(), false);
    for (done, i) in (ranks.rank()..missing.len()).step_by(ranks.size()).enumerate() {
        stopped = stop_signal::asked();
        if stopped {
            break;
        }
        match measure(run, &missing[i]) {
            Ok(cell) => {
                run.store.write_cell(&cell).and_then(|()| run.store.clear_failed(&cell.id)).map_err(Failure::run)?;
            }
            Err(error) => {
                let report = json!({"cell": missing[i].id, "error": format!("{error:#}")});
                run.store.write_failed(&missing[i].id, &report).map_err(Failure::run)?;
                failed.extend([i as f64, f64::from(code(&error))]);
            }
        }
        progress.at(((done + 1) * ranks.size()) as u64, missing.len() as u64);
    }
    progress.finish();
    if stop_signal::any(ranks, stopped) {
        return Err(stop_signal::stopped());
    }
    // every rank tells all others
    let all = gathered(ranks, &failed);
    Ok(all.chunks(2).map(|pair| Failed { cell: missing[pair[0] as usize].id.clone(), code: pair[1] as i32 }).collect())
}

/// How a run ends in which these measurements failed: with bad input if that is all there was.
///
/// # Errors
/// What each of them said, where there are any.
pub fn outcome(store: &RunFolder, failed: &[Failed]) -> Outcome<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let said = |cell: &str| {
        let text = std::fs::read_to_string(store.path("failed").join(format!("{cell}.json"))).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        report["error"].as_str().unwrap_or("see failed/").to_owned()
    };
    let lines: Vec<String> = failed.iter().map(|failed| format!("{}: {}", failed.cell, said(&failed.cell))).collect();
    let code = if failed.iter().all(|failed| failed.code == BAD_INPUT) { BAD_INPUT } else { RUN_FAILED };
    let error = anyhow!(
        "{} of the measurements failed, the others are done:\n{}\nhint: the same command again does what is missing",
        failed.len(),
        lines.join("\n")
    );
    Err(Failure { error, code, agreed: true })
}

/// A file of the run itself, which is no input.
#[derive(Debug)]
struct OwnFile(&'static str);

impl fmt::Display for OwnFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What comes of the input is bad input, what happens on the way a failed run.
fn code(error: &anyhow::Error) -> i32 {
    if error.downcast_ref::<OwnFile>().is_some() {
        return RUN_FAILED;
    }
    match error.downcast_ref::<eqr_probes::Error>() {
        Some(eqr_probes::Error::Diverged { .. } | eqr_probes::Error::Lapack { .. }) => RUN_FAILED,
        _ => BAD_INPUT,
    }
}

/// All of a part: final probes of every row, those of the curve, then transfer and segmentation, set by set.
fn measurements(run: &RunContext) -> Outcome<Vec<Measurement>> {
    let entries = run.entries()?;
    let mut all = of_rows(run.part, &entries);
    all.retain(|measurement| may_be_measured(run, measurement));
    for entry in entries.iter().filter(|entry| entry.row.kind.trains()) {
        let units = run.training(entry).map_err(Failure::run)?.units().len();
        for step in curve_steps(run.suite(), entry.row.budget, run.course(entry, units).per_epoch) {
            let (id, subject) = (entry.probe_id_at(step), Subject::Own(entry.clone()));
            all.push(Measurement { id, subject, task: Task::Probe(Some(step)) });
        }
    }
    Ok(all)
}

/// A measurement that is planned.
pub struct Planned {
    /// Id of its cell.
    pub id: String,
    /// What is done.
    pub kind: CellKind,
    /// Position of the set of a transfer or a segmentation in the suite.
    pub set: usize,
    /// Whether its encoder is not this run's.
    pub external: bool,
}

/// What is measured of a part at the end of its trainings, in its order.
///
/// # Errors
/// An unknown method name.
pub fn planned(part: &SubSuite) -> Result<Vec<Planned>> {
    let of = |Measurement { id, subject, task }| Planned {
        id,
        kind: task.kind(),
        set: match task {
            Task::Probe(_) => 0,
            Task::Transfer(set) | Task::Segment(set, _) => set,
        },
        external: matches!(subject, Subject::External(_)),
    };
    Ok(of_rows(part, &entries(part)?).into_iter().map(of).collect())
}

/// Everything that may be asked of the rows at the end of their training.
fn of_rows(part: &SubSuite, entries: &[EncoderRun]) -> Vec<Measurement> {
    let Suite { rows, transfer, segmentation, .. } = &part.suite;
    let key = part.key.as_ref().map(|key| format!("{key}-")).unwrap_or_default();
    let own = entries.iter().map(|entry| (entry.slug(), Subject::Own(entry.clone())));
    let external = rows.iter().map(|row| (format!("{key}{}", row.slug()), Subject::External(row.clone())));
    let subjects: Vec<(String, Subject)> = own.chain(external).collect();
    let mut all = Vec::new();
    let mut add = |id: String, subject: &Subject, task| all.push(Measurement { id, subject: subject.clone(), task });
    for (slug, subject) in subjects.iter().filter(|_| part.suite.probe.seeds > 0) {
        add(format!("probe-{slug}"), subject, Task::Probe(None));
    }
    for (i, set) in transfer.iter().enumerate() {
        for (slug, subject) in &subjects {
            add(format!("transfer-{}-{slug}", set.slug()), subject, Task::Transfer(i));
        }
    }
    for (i, set) in segmentation.iter().enumerate() {
        for (slug, subject) in &subjects {
            // results bring their own seeds
            let seeds = if results(subject).is_some() { 1 } else { set.seeds };
            for seed in 0..seeds {
                add(format!("segment-{}-{slug}-head{seed}", set.slug()), subject, Task::Segment(i, seed));
            }
        }
    }
    all
}

/// The file of labelled features that a row has of a set.
fn features_of<'a>(subject: &'a Subject, set: &TransferSet) -> Option<&'a Path> {
    match subject {
        Subject::External(row) => row.transfer.get(&set.slug()).map(PathBuf::as_path),
        Subject::Own(_) => None,
    }
}

/// Features are of the pairs, and of the sets that they are given for; results are what they are. Results that have nothing at all are asked
/// for probes, which says so.
fn may_be_measured(run: &RunContext, measurement: &Measurement) -> bool {
    let Measurement { subject, task, .. } = measurement;
    let Subject::External(row) = subject else { return true };
    let Some(path) = results(subject) else {
        return match *task {
            Task::Probe(_) => true,
            Task::Transfer(set) => row.encoder.is_some() || features_of(subject, &run.suite().transfer[set]).is_some(),
            Task::Segment(..) => row.encoder.is_some(),
        };
    };
    let on = |task: Task| {
        imported_results::datasets(path, &row.name, task.kind()).is_ok_and(|found| found.contains(target(run, task).0))
    };
    let transfers = (0..run.sets.transfer.len()).map(Task::Transfer);
    let segments = (0..run.sets.segmentation.len()).map(|set| Task::Segment(set, 0));
    on(*task) || (matches!(task, Task::Probe(_)) && !transfers.chain(segments).any(on))
}

/// The set that a task measures on, as it stands in the tables, and the paper's table that it belongs to.
fn target<'a>(run: &'a RunContext, task: Task) -> (&'a str, Option<u8>) {
    match task {
        Task::Probe(_) => (run.part.key.as_ref().unwrap_or(&run.opened.pack.name), run.suite().table),
        Task::Transfer(set) => (&run.sets.transfer[set].name, Some(TRANSFER_TABLE)),
        Task::Segment(set, _) => (&run.sets.segmentation[set].name, Some(SEGMENTATION_TABLE)),
    }
}

/// The file of results that a row is.
fn results(subject: &Subject) -> Option<&Path> {
    match subject {
        Subject::External(ExternalRow { metrics: Some(path), .. }) => Some(path),
        _ => None,
    }
}

impl Subject {
    /// Row of the table.
    fn method(&self) -> String {
        match self {
            Subject::Own(entry) => entry.row.to_string(),
            Subject::External(row) => row.name.clone(),
        }
    }

    fn seed(&self) -> u64 {
        match self {
            Subject::Own(entry) => entry.seed,
            Subject::External(_) => 0,
        }
    }
}

fn measure(run: &RunContext, measurement: &Measurement) -> Result<Cell> {
    let start = Instant::now();
    let Measurement { id, subject, task } = measurement;
    let origin = origin(run, measurement);
    let mut step = 0;
    let values = match (results(subject), *task) {
        (Some(_), _) => Vec::new(),
        (None, Task::Probe(at)) => probe(run, subject, at, &mut step)?,
        (None, Task::Transfer(set)) => transfer_to(run, subject, set)?,
        (None, Task::Segment(set, seed)) => segment(run, measurement, set, seed)?,
    };
    let metrics = match results(subject) {
        Some(path) => imported_results::metrics(path, &origin, task.kind())?,
        None => values.into_iter().map(|value| value.metric(&origin)).collect(),
    };
    Ok(Cell {
        schema: SCHEMA,
        id: id.clone(),
        kind: task.kind(),
        part: run.part.key.clone(),
        method: subject.method(),
        pretrain_seed: subject.seed(),
        step,
        last: !matches!(task, Task::Probe(Some(_))),
        metrics,
        curve: Vec::new(),
        seconds: start.elapsed().as_secs_f64(),
        resumed: false,
        external: matches!(subject, Subject::External(_)),
    })
}

fn origin<'a>(run: &'a RunContext, measurement: &'a Measurement) -> ValueOrigin<'a> {
    let Measurement { id, subject, task } = measurement;
    let (dataset, table) = target(run, *task);
    let (method, pretrain_seed) = (subject.method(), subject.seed());
    ValueOrigin { suite: &run.suite().name, table, dataset, method, pretrain_seed, cell: id }
}

/// Values of the probes; `trained` becomes the steps that an encoder of this run had been trained for.
fn probe(run: &RunContext, subject: &Subject, step: Option<u64>, trained: &mut u64) -> Result<Vec<MeasuredValue>> {
    match subject {
        Subject::Own(entry) => {
            let (values, steps) = probe_own(run, entry, step)?;
            *trained = steps;
            Ok(values)
        }
        Subject::External(ExternalRow { features: Some(path), .. }) => probe_features(path, run),
        Subject::External(row) => probe_encoder(run, row),
    }
}

fn probe_own(run: &RunContext, entry: &EncoderRun, step: Option<u64>) -> Result<(Vec<MeasuredValue>, u64)> {
    let (network, trained_steps) = trained(run, entry, step)?;
    let known = known_part(run.suite(), &run.train, entry.seed)?;
    let Suite { transforms, probe, .. } = run.suite();
    let evaluation = Evaluation { transforms, probe, pack: &run.opened.pack, train: &known, test: &run.test };
    let extent = if step.is_none() { ProbeScope::Full } else { ProbeScope::CurvePoint };
    let mut values = evaluation.run(&network, extent)?;
    if extent == ProbeScope::Full {
        values.extend(tch::no_grad(|| reconstruction::errors(&network, &run.test))?);
        values.extend(tch::no_grad(|| retrieval::values(&network, &known, &run.test))?);
    }
    if step.is_none()
        && entry.seed == 0
        && let Some(images) = reconstruction::pictures(&network, &run.test, 8)?
    {
        let path = run.store.path("figures").join(format!("reconstruction-{}.png", entry.slug()));
        pictures::rows(&images, &path).context(OwnFile("its picture"))?;
    }
    Ok((values, trained_steps))
}

/// The network of a row after `step` steps, or at its end, and the steps that it was trained for.
fn trained(run: &RunContext, entry: &EncoderRun, step: Option<u64>) -> Result<(Network, u64)> {
    let mut network = run.network(entry)?;
    if !entry.row.kind.trains() {
        return Ok((network, 0));
    }
    let total = run.course(entry, run.training(entry)?.units().len()).total();
    let checkpoints = run.checkpoints(entry);
    let path = step.map_or_else(|| checkpoints.at_step(total), |step| checkpoints.on_curve(step));
    let steps = step.unwrap_or(total);
    checkpoint::load_parameters(&path, &mut network.arena, steps).map_err(|error| {
        let (slug, cell) = (entry.slug(), entry.pretrain_id());
        let damaged = path.strip_prefix(run.store.root()).unwrap_or(&path).display();
        let again = match step {
            None => "run again, the training then goes on from the checkpoint before".to_owned(),
            Some(_) => format!("checkpoints/{slug} and run again, the training then starts anew"),
        };
        anyhow!("{error:#}\nhint: remove {damaged}, cells/{cell}.json and {again}").context(OwnFile("its checkpoint"))
    })?;
    Ok((network, steps))
}

/// Probes of an encoder of others, on the part's own images at the side that the part has.
fn probe_encoder(run: &RunContext, row: &ExternalRow) -> Result<Vec<MeasuredValue>> {
    let frozen = open(run, row, Some(run.opened.side))?;
    let probe = whole(&run.suite().probe);
    let opened = OpenedPack { pack: run.opened.pack.clone(), side: frozen.side() };
    let source = |own: &PairSource, split| {
        let resized = match frozen.side() == run.opened.side {
            true => own.share(),
            false => PairSource::new(&opened, split, &run.suite().transforms, run.worker.device)?,
        };
        Ok::<_, anyhow::Error>(resized.normalised_by(frozen.normalisation))
    };
    let (train, test) = (source(&run.train, "train")?, source(&run.test, "test")?);
    let transforms = &run.suite().transforms;
    let evaluation = Evaluation { transforms, probe: &probe, pack: &opened.pack, train: &train, test: &test };
    evaluation.run(&frozen, ProbeScope::Full)
}

/// Probes of a feature file; classification, too, where it holds labelled features.
fn probe_features(path: &Path, run: &RunContext) -> Result<Vec<MeasuredValue>> {
    let (file, device, probe) = (FeatureFile::open(path)?, run.worker.device, whole(&run.suite().probe));
    let tasks = tasks(run.opened.pack.kind, &run.suite().transforms);
    let mut sets = file.regressions(device)?;
    let found: Vec<String> = sets.iter().map(|set| set.task.clone()).collect();
    sets.retain(|set| tasks.iter().any(|(task, _)| *task == set.task));
    let names = tasks.iter().map(|(task, _)| task.as_str()).collect::<Vec<_>>().join(", ");
    ensure!(!sets.is_empty(), "{}: targets {}, expected some of {names}", path.display(), found.join(", "));
    let mut values = regression::values(&sets, &probe, ProbeScope::Full)?;
    if file.has_labelled() {
        let data = file.classification(device)?;
        let seeds: Vec<u64> = (0..probe.seeds).collect();
        values.extend(top1(&seeds, &classify(&data, &seeds, &probe.classification)?));
    }
    Ok(values)
}

/// The same probes of the whole representation alone: others have no halves.
fn whole(probe: &Probe) -> Probe {
    Probe { parts: vec![ReadoutHalf::All], ..probe.clone() }
}

/// The encoder of an external row. At a side that it was not made for its positions are resized; a module is asked for its own.
fn open(run: &RunContext, row: &ExternalRow, side: Option<usize>) -> Result<FrozenEncoder> {
    let path = row.encoder.as_ref().context("the row has no encoder")?;
    FrozenEncoder::open(path, &row.options, row.options.size.or(side), run.worker.device)
}

/// Runs `work` with a row's encoder as it takes the images of its training.
fn with_reader<T>(run: &RunContext, subject: &Subject, work: impl FnOnce(Reader) -> Result<T>) -> Result<T> {
    let device = run.worker.device;
    let read =
        |encoder: &dyn FeatureEncoder, side, normalisation| work(Reader { encoder, side, normalisation, device });
    match subject {
        Subject::Own(entry) => {
            let (network, _) = trained(run, entry, None)?;
            read(&network, run.opened.side, run.train.normalisation())
        }
        Subject::External(row) => {
            let frozen = open(run, row, None)?;
            read(&frozen, frozen.side(), frozen.normalisation)
        }
    }
}

fn transfer_to(run: &RunContext, subject: &Subject, set: usize) -> Result<Vec<MeasuredValue>> {
    let (pack, asked): (&Pack, &TransferSet) = (&run.sets.transfer[set], &run.suite().transfer[set]);
    let data = match features_of(subject, asked) {
        Some(path) => FeatureFile::open(path)?.transfer_data(run.worker.device)?,
        None => with_reader(run, subject, |reader| tch::no_grad(|| transfer_data(pack, reader, &asked.preparation)))?,
    };
    Ok(accuracies(&transfer(&data, &LogisticConfig::default(), &Solo, &mut |_, _| {})?))
}

fn accuracies(result: &Transfer) -> Vec<MeasuredValue> {
    let value = |metric: &str, value, unit| MeasuredValue {
        task: "linear transfer".into(),
        metric: metric.into(),
        eval_seed: None,
        value,
        unit,
        better: Better::Higher,
    };
    vec![
        value("top1", result.accuracy.top1, "fraction"),
        value("mean_per_class", result.accuracy.mean_per_class, "fraction"),
        value("knn_top1", result.knn.top1, "fraction"),
        value("knn_mean_per_class", result.knn.mean_per_class, "fraction"),
        value("lambda", result.lambda, "strength"),
    ]
}

fn segment(run: &RunContext, measurement: &Measurement, set: usize, seed: u64) -> Result<Vec<MeasuredValue>> {
    let Measurement { id, subject, .. } = measurement;
    let (pack, asked): (&Pack, &SegmentationSet) = (&run.sets.segmentation[set], &run.suite().segmentation[set]);
    let crop = usize::try_from(asked.head.crop)?;
    let frozen = match subject {
        Subject::Own(entry) => own_at(run, entry, crop)?,
        Subject::External(row) => {
            let path = row.encoder.as_ref().context("the row has no encoder")?;
            FrozenEncoder::open_for_maps(path, &row.options, crop, run.worker.device)?
        }
    };
    let normalise = |pixels: &Tensor| frozen.normalise(pixels);
    let scenes = |split| PackScenes::open(pack, split, &normalise, run.worker.device);
    let (train, test) = (scenes("train")?, scenes("test")?);
    let task = segment::Task { encoder: &frozen, train: &train, test: &test, classes: scenes::classes(pack)? };
    let Segmented { head, confusion, .. } = segment::segment(&task, seed, &asked.head, &Solo)?;
    if seed == 0 && subject.seed() == 0 {
        let figures = run.store.path("figures");
        std::fs::create_dir_all(&figures).with_context(|| format!("cannot create {}", figures.display()))?;
        let figure = figures.join(format!("{id}.png"));
        segment::draw(pack, &test, (&frozen, &head), &asked.head, PICTURES, &figure).context(OwnFile("its picture"))?;
    }
    Ok(shares_of(&confusion.score()?, &pack.class_names, seed))
}

/// Scores of a head, and of every class that has them.
fn shares_of(score: &SegmentationScore, names: &[String], seed: u64) -> Vec<MeasuredValue> {
    let value = |metric: String, value| MeasuredValue {
        task: "segmentation".into(),
        metric,
        eval_seed: Some(seed),
        value,
        unit: "fraction",
        better: Better::Higher,
    };
    let whole = [("mIoU", score.miou), ("mAcc", score.macc), ("aAcc", score.aacc)];
    let classes = score.classes.iter().zip(names).flat_map(|(class, name)| {
        [("iou", class.iou), ("accuracy", class.accuracy)]
            .into_iter()
            .filter_map(move |(what, share)| Some(value(format!("{what}/{name}"), share?)))
    });
    whole.into_iter().map(|(metric, share)| value(metric.into(), share)).chain(classes).collect()
}

/// A row's encoder for images of another side.
fn own_at(run: &RunContext, entry: &EncoderRun, side: usize) -> Result<FrozenEncoder> {
    let (network, _) = trained(run, entry, None)?;
    let config = *network.model.encoder.config();
    let named = network.arena.named(network.arena.master()).into_iter().map(|(name, tensor)| (name.into(), tensor));
    let parameters = Parameters::of_network(Path::new(&entry.slug()), &named.collect(), &config)?;
    let normalisation: Normalisation = run.train.normalisation();
    FrozenEncoder::ours(&parameters, config, side, normalisation, run.compute, run.worker.device)
}
