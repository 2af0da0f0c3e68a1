//! A run against a recorded one: which methods became worse, and which trainings slower.
//!
//! Quality and speed are judged apart. Quality: the headline metric of every task and method, one value a pretraining seed, tested one-sided
//! for a drop and for a gain, each corrected by Holm within its table (a data set with a kind of measurement). Speed: the steps a second of
//! every training that was not interrupted, on the same hardware only.
//!
//! A baseline is one run, or a folder of recorded runs (a series). Of a series the newest run says what quality was; of speed every run gives
//! one value, as the trainings of one run share the machine's mood of that day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use eqr_probes::stats::{Summary, holm, paired, prediction_test, student, welch};
use serde::Serialize;
use serde_json::{Value, json};

use crate::registry::{Better, TaskFamily, is_headline};
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::metric::Metric;

/// Values that a baseline needs before anything is said against it.
const HISTORY: usize = 5;

/// When a difference counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Chance of one or more false alarms a table, in (0, 1).
    pub alpha: f64,
    /// Smallest drop of a metric that counts, in its own unit, at least 0.
    pub tolerance: f64,
    /// Smallest slow-down that counts, as a part of the baseline's rate, at least 0.
    pub slower: f64,
}

/// What is said of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Neither worse nor better as far as can be told.
    Ok,
    /// Worse.
    Regression,
    /// Better.
    Improvement,
    /// Too few values to say anything.
    InsufficientHistory,
}

impl Verdict {
    /// As it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Regression => "regression",
            Verdict::Improvement => "improvement",
            Verdict::InsufficientHistory => "insufficient history",
        }
    }
}

/// One quantity held against its baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// `quality` or `speed`.
    pub series: &'static str,
    /// Data set, task and method; of a speed the method.
    pub name: String,
    /// Its values in the baseline.
    pub baseline: Summary,
    /// Its values in the candidate.
    pub candidate: Summary,
    /// Candidate less baseline, turned so that above 0 is better; of a speed as a part of the baseline's.
    pub gain: f64,
    /// Of quality: p value of a drop, corrected within its table.
    pub p_drop: Option<f64>,
    /// What is said of it.
    pub verdict: Verdict,
}

/// Everything that was held against the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Line by line.
    pub lines: Vec<Line>,
    /// What could not be compared, and why: another definition, other hardware, values on one side alone.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether anything became worse.
    pub fn regressed(&self) -> bool {
        self.lines.iter().any(|line| line.verdict == Verdict::Regression)
    }
}

/// A run as `compare` reads it.
pub struct Record {
    metrics: Vec<Metric>,
    /// Views a second of the trainings, by method.
    speeds: BTreeMap<String, Vec<f64>>,
    /// What was measured: the configuration without what may differ between runs of one series.
    definition: Option<Value>,
    /// What it was measured on; `null` where it was continued on something else.
    hardware: Option<Value>,
    /// When it was begun, as text that sorts; of a file nothing.
    started: String,
}

/// What a run is held against.
pub enum Baseline {
    /// One run, or its metrics.csv.
    Run(Record),
    /// Recorded runs, oldest first.
    Series(Vec<Record>),
}

impl Baseline {
    /// Reads what [`Record::read`] reads, or a folder of run folders.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read(path: &Path) -> Result<Baseline> {
        if !path.is_dir() || path.join(MANIFEST).exists() {
            return Record::read(path).map(Baseline::Run);
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut runs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        runs.retain(|run| run.join(MANIFEST).exists());
        ensure!(
            !runs.is_empty(),
            "{} holds neither a run nor recorded runs\nhint: name a run's folder, its metrics.csv, or a folder that `eqr-bench record` fills",
            path.display()
        );
        runs.sort();
        let mut records = runs.iter().map(|run| Record::read(run)).collect::<Result<Vec<Record>>>()?;
        records.sort_by(|a, b| a.started.cmp(&b.started));
        Ok(Baseline::Series(records))
    }
}

const MANIFEST: &str = "manifest.json";

impl Record {
    /// Reads a run's folder, or a file with the columns of `metrics.csv`, which has neither definition nor speeds.
    ///
    /// # Errors
    /// A folder that holds no run or no finished cell, a file that is none.
    pub fn read(path: &Path) -> Result<Record> {
        if !path.is_dir() {
            let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
            let metrics = reader.deserialize().collect::<Result<Vec<Metric>, _>>();
            let hint = "hint: a run's folder, or its metrics.csv";
            let metrics = metrics.with_context(|| format!("{} is no metrics.csv\n{hint}", path.display()))?;
            ensure!(!metrics.is_empty(), "{} holds no value", path.display());
            return Ok(Record {
                metrics,
                speeds: BTreeMap::new(),
                definition: None,
                hardware: None,
                started: String::new(),
            });
        }
        let store = RunFolder::new(path);
        let manifest = store.path(MANIFEST);
        let text = std::fs::read_to_string(&manifest).with_context(|| {
            format!("{}\nhint: name a run's folder, or its metrics.csv", manifest.display())
        })?;
        let manifest: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", manifest.display()))?;
        let (cells, problems) = store.readable_cells()?;
        ensure!(problems.is_empty(), "{} is not whole:\n{}", path.display(), problems.join("\n"));
        if cells.is_empty() {
            bail!("{} has no finished cell", path.display());
        }
        Ok(Record {
            metrics: cells.iter().filter(|cell| cell.last).flat_map(|cell| cell.metrics.clone()).collect(),
            speeds: speeds(&cells),
            definition: Some(definition(&manifest["configuration"])),
            hardware: Some(hardware(&manifest)),
            started: manifest["provenance"]["started"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// One value a pretraining seed, the mean over its draws, of every headline: by table, then by task and method.
    fn headlines(&self) -> Headlines {
        let mut draws: BTreeMap<(String, String), BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        for metric in self.metrics.iter().filter(|metric| is_headline(&metric.task, &metric.metric)) {
            let family = TaskFamily::of_task(&metric.task);
            let kind = if CellKind::from(family) == CellKind::Probe { "probes" } else { family.name() };
            let table = format!("{}, {kind}", metric.dataset);
            let name = format!("{}: {} {}, {}", metric.dataset, metric.task, metric.metric, metric.method);
            let sign = if metric.better == Better::Lower { -1.0 } else { 1.0 };
            draws
                .entry((table, name))
                .or_default()
                .entry(metric.pretrain_seed)
                .or_default()
                .push(sign * metric.value);
        }
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        draws
            .into_iter()
            .map(|(key, seeds)| (key, seeds.into_iter().map(|(seed, draws)| (seed, mean(draws))).collect()))
            .collect()
    }
}

/// Views a second of the trainings that ran in one piece.
fn speeds(cells: &[Cell]) -> BTreeMap<String, Vec<f64>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for cell in
        cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && !cell.resumed && cell.seconds > 0.0)
    {
        let part = cell.data_set.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        all.entry(format!("{part}{}", cell.method)).or_default().push(cell.step as f64 / cell.seconds);
    }
    all
}

/// What a speed depends on; `null` where the calls of a run differ in it.
fn hardware(manifest: &Value) -> Value {
    let of_call = |call: &Value| -> Value {
        let gpus =
            call["gpus"].as_array().into_iter().flatten().map(|gpu| gpu["name"].clone()).collect::<Value>();
        let of_key = |&key: &&str| (key.to_owned(), call[key].clone());
        let all = ["cpu", "device", "ranks", "threads"].iter().map(of_key);
        all.chain(gpus.as_array().is_some_and(|gpus| !gpus.is_empty()).then(|| ("gpus".to_owned(), gpus)))
            .collect()
    };
    let first = of_call(&manifest["provenance"]);
    let mut later = manifest["continued"].as_array().into_iter().flatten();
    if later.all(|call| of_call(call) == first) { first } else { Value::Null }
}

/// A configuration without rows and seeds, which runs of one series may have more or fewer of.
fn definition(configuration: &Value) -> Value {
    let mut definition = configuration.clone();
    let drop = |suite: &mut Value| {
        if let Some(keys) = suite.as_object_mut() {
            ["methods", "seeds", "title", "notes"].iter().for_each(|key| drop_key(keys, key));
        }
    };
    match definition["suite"].get("name") {
        Some(_) => drop(&mut definition["suite"]),
        None => definition["suite"]
            .as_object_mut()
            .into_iter()
            .flat_map(|parts| parts.values_mut())
            .for_each(drop),
    }
    definition
}

fn drop_key(keys: &mut serde_json::Map<String, Value>, key: &str) {
    keys.remove(key);
}

/// Holds `candidate` against `baseline`.
///
/// # Errors
/// Values that are not finite.
pub fn compare(baseline: &Baseline, candidate: &Record, thresholds: &Thresholds) -> Result<Comparison> {
    let mut notes = Vec::new();
    let all: Vec<&Record> = match baseline {
        Baseline::Run(run) => vec![run],
        Baseline::Series(runs) => runs.iter().collect(),
    };
    let differs = |a: &Option<Value>, b: &Option<Value>| matches!((a, b), (Some(a), Some(b)) if a != b);
    let defined: Vec<&Record> =
        all.iter().copied().filter(|run| !differs(&run.definition, &candidate.definition)).collect();
    let Some(newest) = defined.last() else {
        notes.push(
            "the definition is another one than the baseline's: a new series begins, nothing is compared"
                .into(),
        );
        return Ok(Comparison { lines: Vec::new(), notes });
    };
    if defined.len() < all.len() {
        notes.push(format!(
            "{} of {} recorded runs are of another definition",
            all.len() - defined.len(),
            all.len()
        ));
    }
    let mut lines = quality(&newest.headlines(), &candidate.headlines(), thresholds, &mut notes)?;
    let alike: Vec<&Record> =
        defined.iter().copied().filter(|run| same_hardware(run, candidate, &mut notes)).collect();
    if alike.is_empty() {
        return Ok(Comparison { lines, notes });
    }
    lines.extend(match baseline {
        Baseline::Run(run) => speed(&run.speeds, &candidate.speeds, thresholds)?,
        Baseline::Series(_) => speed_of_runs(&alike, candidate, thresholds)?,
    });
    Ok(Comparison { lines, notes })
}

/// Whether the speeds of two runs can be held against each other; a note says why not, once.
fn same_hardware(run: &Record, candidate: &Record, notes: &mut Vec<String>) -> bool {
    let mixed = |record: &Record| record.hardware.as_ref().is_some_and(Value::is_null);
    let why = match (&run.hardware, &candidate.hardware) {
        _ if mixed(candidate) => {
            "the candidate was continued on other hardware than it began on: no speeds are compared"
        }
        _ if mixed(run) => {
            "a recorded run was continued on other hardware than it began on: its speeds do not count"
        }
        (Some(a), Some(b)) if a != b => {
            "the hardware is another one than the baseline's: a new series of speeds begins"
        }
        _ => return true,
    };
    if notes.iter().all(|note| note != why) {
        notes.push(why.to_owned());
    }
    false
}

/// A line before its verdict, with the p values of a drop and of a gain.
type Tested = (Line, Option<(f64, f64)>);

/// Values by table and name, one a pretraining seed.
type Headlines = BTreeMap<(String, String), BTreeMap<u64, f64>>;

fn quality(
    baseline: &Headlines,
    candidate: &Headlines,
    thresholds: &Thresholds,
    notes: &mut Vec<String>,
) -> Result<Vec<Line>> {
    for (key, side) in
        baseline.keys().map(|key| (key, "candidate")).chain(candidate.keys().map(|key| (key, "baseline")))
    {
        let other = if side == "candidate" { candidate } else { baseline };
        if !other.contains_key(key) {
            notes.push(format!("{}: not in the {side}", key.1));
        }
    }
    let mut tables: BTreeMap<&str, Vec<Tested>> = BTreeMap::new();
    for (key, before) in baseline {
        let Some(after) = candidate.get(key) else { continue };
        let values = |seeds: &BTreeMap<u64, f64>| seeds.values().copied().collect::<Vec<f64>>();
        let (a, b) = (values(before), values(after));
        let (summary, found) = (Summary::from_values(&a)?, Summary::from_values(&b)?);
        let enough = a.len() >= HISTORY;
        let p = if enough { one_sided(&a, &b, before.keys().eq(after.keys()))? } else { None };
        let verdict = if enough { Verdict::Ok } else { Verdict::InsufficientHistory };
        let gain = found.mean - summary.mean;
        let name = key.1.clone();
        let line = Line {
            series: "quality",
            name,
            baseline: summary,
            candidate: found,
            gain,
            p_drop: None,
            verdict,
        };
        tables.entry(&key.0).or_default().push((line, p));
    }
    Ok(tables.into_values().flat_map(|table| judged(table, thresholds)).collect())
}

/// p values of a drop and of a gain from `before` to `after`: paired where both are of the same seeds, Student's otherwise (that nothing changed is
/// the hypothesis, and the variance is part of it), and of a single value by what the baseline's spread allows one more to be. None without any spread.
fn one_sided(before: &[f64], after: &[f64], same_seeds: bool) -> Result<Option<(f64, f64)>> {
    let difference = match after {
        [value] => prediction_test(before, *value)?,
        _ if same_seeds => paired(after, before)?,
        _ => student(after, before)?,
    };
    let Some(p) = difference.p else { return Ok(None) };
    let (towards, away) = (p / 2.0, 1.0 - p / 2.0);
    Ok(Some(match difference.t {
        Some(t) if t < 0.0 => (towards, away),
        Some(_) => (away, towards),
        // equal, and no spread at all
        None => (p, p),
    }))
}

/// The lines of a table with their verdicts: drops and gains corrected for all lines that were tested.
fn judged(table: Vec<Tested>, thresholds: &Thresholds) -> Vec<Line> {
    let tested: Vec<(f64, f64)> = table.iter().filter_map(|(_, p)| *p).collect();
    let corrected =
        |side: fn(&(f64, f64)) -> f64| holm(&tested.iter().map(side).collect::<Vec<_>>()).into_iter();
    let (mut drops, mut gains) = (corrected(|p| p.0), corrected(|p| p.1));
    let line = |(line, p): Tested| {
        if p.is_none() {
            return line;
        }
        let (drop, gain) = (drops.next().unwrap_or(1.0), gains.next().unwrap_or(1.0));
        let verdict = match () {
            () if drop < thresholds.alpha && -line.gain > thresholds.tolerance => Verdict::Regression,
            () if gain < thresholds.alpha && line.gain > thresholds.tolerance => Verdict::Improvement,
            () => Verdict::Ok,
        };
        Line { p_drop: Some(drop), verdict, ..line }
    };
    table.into_iter().map(line).collect()
}

/// A slow-down counts where it is larger than the threshold and the interval of the difference excludes none.
fn speed(
    baseline: &BTreeMap<String, Vec<f64>>,
    candidate: &BTreeMap<String, Vec<f64>>,
    thresholds: &Thresholds,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (name, before) in baseline {
        let Some(after) = candidate.get(name) else { continue };
        let (summary, found) = (Summary::from_values(before)?, Summary::from_values(after)?);
        let gain = found.mean / summary.mean - 1.0;
        let interval = welch(after, before)?.ci95;
        let verdict = match interval {
            _ if before.len() < HISTORY => Verdict::InsufficientHistory,
            Some((_, high)) if high < 0.0 && -gain > thresholds.slower => Verdict::Regression,
            Some((low, _)) if low > 0.0 && gain > thresholds.slower => Verdict::Improvement,
            None => Verdict::InsufficientHistory,
            Some(_) => Verdict::Ok,
        };
        let name = format!("{name}, steps/s");
        lines.push(Line {
            series: "speed",
            name,
            baseline: summary,
            candidate: found,
            gain,
            p_drop: None,
            verdict,
        });
    }
    Ok(lines)
}

/// A run's mean speed against those of earlier runs: a slow-down counts where it is larger than the threshold and one more run of the series
/// would be so slow in less than one of twenty cases.
fn speed_of_runs(runs: &[&Record], candidate: &Record, thresholds: &Thresholds) -> Result<Vec<Line>> {
    let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let mut lines = Vec::new();
    for (name, after) in &candidate.speeds {
        let before: Vec<f64> = runs.iter().filter_map(|run| run.speeds.get(name)).map(mean).collect();
        if before.is_empty() {
            continue;
        }
        let (summary, found) = (Summary::from_values(&before)?, Summary::from_values(&[mean(after)])?);
        let gain = found.mean / summary.mean - 1.0;
        let unlikely = prediction_test(&before, found.mean)?.p.is_some_and(|p| p / 2.0 < thresholds.alpha);
        let verdict = match () {
            () if before.len() < HISTORY => Verdict::InsufficientHistory,
            () if unlikely && -gain > thresholds.slower => Verdict::Regression,
            () if unlikely && gain > thresholds.slower => Verdict::Improvement,
            () => Verdict::Ok,
        };
        let name = format!("{name}, steps/s of a run");
        lines.push(Line {
            series: "speed",
            name,
            baseline: summary,
            candidate: found,
            gain,
            p_drop: None,
            verdict,
        });
    }
    Ok(lines)
}

impl Comparison {
    /// As JSON.
    pub fn as_json(&self) -> String {
        format!("{:#}\n", json!({"regressed": self.regressed(), "lines": self.lines, "notes": self.notes}))
    }

    /// As JUnit's XML: a test case a line, a failure where it became worse, skipped where too little is known.
    pub fn as_junit(&self) -> String {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let case = |line: &Line| {
            let said = escaped(&format!("{} to {}", line.baseline.mean, line.candidate.mean));
            let inside = match line.verdict {
                Verdict::Regression => format!("<failure message=\"{said}\"/>"),
                Verdict::InsufficientHistory => "<skipped message=\"insufficient history\"/>".to_owned(),
                Verdict::Ok | Verdict::Improvement => String::new(),
            };
            format!(
                "  <testcase classname=\"{}\" name=\"{}\">{inside}</testcase>\n",
                line.series,
                escaped(&line.name)
            )
        };
        let count = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"eqr-bench compare\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n{}</testsuite>\n",
            self.lines.len(),
            count(Verdict::Regression),
            count(Verdict::InsufficientHistory),
            self.lines.iter().map(case).collect::<String>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { alpha: 0.05, tolerance: 0.0, slower: 0.03 };

    /// Normal values from a small congruential generator.
    fn normal(state: &mut u64) -> f64 {
        let mut uniform = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((*state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        // Box and Muller
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    }

    /// A table of two tasks and three methods with these seeds; the first quantity is moved by `shift` standard deviations.
    fn record(seeds: std::ops::Range<u64>, shift: f64, state: &mut u64) -> Record {
        let mut metrics = Vec::new();
        for (i, (task, method)) in ["rotation", "color"]
            .iter()
            .flat_map(|task| ["A", "B", "C"].map(|method| (task, method)))
            .enumerate()
        {
            for seed in seeds.clone() {
                let (mean, std) = (0.1 * i as f64, 0.01 + 0.01 * i as f64);
                let moved = if i == 0 { shift } else { 0.0 };
                metrics.push(Metric {
                    suite: "s".into(),
                    table: "4".into(),
                    dataset: "photos".into(),
                    task: (*task).to_owned(),
                    method: method.to_owned(),
                    metric: "r2_per_output".into(),
                    pretrain_seed: seed,
                    eval_seed: Some(0),
                    value: mean + std * (normal(state) + moved),
                    unit: "R2".into(),
                    better: Better::Higher,
                    cell: String::new(),
                });
            }
        }
        Record { metrics, speeds: BTreeMap::new(), definition: None, hardware: None, started: String::new() }
    }

    /// At most 64 of 1,000 tables of nothing but chance raise an alarm: 5% and two standard errors; a drop of three standard deviations at
    /// five seeds is found in 90%.
    #[test]
    fn alarms_are_as_rare_as_promised_and_drops_are_found() {
        let mut state = 7;
        let mut regressed = |shift| {
            (0..1000)
                .filter(|_| {
                    let (before, after) = (record(0..5, 0.0, &mut state), record(5..10, shift, &mut state));
                    compare(&Baseline::Run(before), &after, &THRESHOLDS).unwrap().regressed()
                })
                .count()
        };
        let (alarms, found) = (regressed(0.0), regressed(-3.0));
        assert!(alarms <= 64, "{alarms} false alarms in 1,000");
        assert!(found >= 900, "{found} drops found in 1,000");
    }

    /// Five trainings a side at 1% noise: 5% slower is found, nothing is not.
    #[test]
    fn slow_downs_are_found() {
        let mut state = 3;
        let mut speeds = |rate: f64| {
            BTreeMap::from([(
                "Ours".to_owned(),
                (0..5).map(|_| rate * (1.0 + 0.01 * normal(&mut state))).collect(),
            )])
        };
        let mut verdicts = |rate: f64| {
            (0..1000)
                .filter(|_| {
                    let lines = speed(&speeds(100.0), &speeds(rate), &THRESHOLDS).unwrap();
                    lines[0].verdict == Verdict::Regression
                })
                .count()
        };
        let (slower, same) = (verdicts(95.0), verdicts(100.0));
        assert!(slower >= 900 && same <= 10, "{slower} {same}");
    }

    /// A run of the series at 1% noise between runs.
    fn week(rate: f64, hardware: &str, state: &mut u64) -> Record {
        let rate = rate * (1.0 + 0.01 * normal(state));
        let speeds = BTreeMap::from([("Ours".to_owned(), vec![rate, rate * 1.001])]);
        let (definition, hardware) = (Some("a".into()), Some(hardware.into()));
        Record { metrics: vec![], speeds, definition, hardware, started: String::new() }
    }

    #[test]
    fn of_a_series_every_run_is_one_value() {
        let mut state = 5;
        let mut verdicts = |runs: usize, rate: f64, wanted: Verdict| {
            let found = (0..1000).filter(|_| {
                let series = Baseline::Series((0..runs).map(|_| week(100.0, "x", &mut state)).collect());
                compare(&series, &week(rate, "x", &mut state), &THRESHOLDS).unwrap().lines[0].verdict
                    == wanted
            });
            found.count()
        };
        let (slower, same) =
            (verdicts(5, 95.0, Verdict::Regression), verdicts(5, 100.0, Verdict::Regression));
        assert!(slower >= 900 && same <= 10, "{slower} {same}");
        assert_eq!(verdicts(4, 50.0, Verdict::InsufficientHistory), 1000);
    }

    #[test]
    fn of_a_series_runs_of_other_hardware_and_definition_do_not_count() {
        let mut state = 5;
        let mut runs: Vec<Record> = (0..5).map(|_| week(100.0, "x", &mut state)).collect();
        runs.push(week(1.0, "y", &mut state));
        runs.push(Record { definition: Some("b".into()), ..week(1.0, "x", &mut state) });
        let found = compare(&Baseline::Series(runs), &week(100.0, "x", &mut state), &THRESHOLDS).unwrap();
        assert_eq!((found.lines[0].baseline.n, found.lines[0].verdict), (5, Verdict::Ok));
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        let continued = Record { hardware: Some(Value::Null), ..week(100.0, "x", &mut state) };
        let found = compare(&Baseline::Run(week(100.0, "x", &mut state)), &continued, &THRESHOLDS).unwrap();
        assert!(
            found.lines.is_empty() && found.notes[0].contains("continued on other hardware"),
            "{found:?}"
        );
    }

    #[test]
    fn calls_on_other_hardware_are_no_hardware_at_all() {
        let call = |threads: u64| json!({"cpu": "c", "device": "Cpu", "ranks": 1, "threads": threads});
        let manifest = |later: &[u64]| json!({"provenance": call(2), "continued": later.iter().map(|&threads| call(threads)).collect::<Vec<_>>()});
        assert_eq!(hardware(&manifest(&[2, 2])), hardware(&json!({"provenance": call(2)})));
        assert!(hardware(&manifest(&[2, 1])).is_null());
    }

    #[test]
    fn little_history_says_nothing_and_a_new_definition_begins_a_series() {
        let mut state = 1;
        let (before, after) = (record(0..4, 0.0, &mut state), record(4..9, -50.0, &mut state));
        let found = compare(&Baseline::Run(before), &after, &THRESHOLDS).unwrap();
        assert!(
            found.lines.iter().all(|line| line.verdict == Verdict::InsufficientHistory) && !found.regressed()
        );
        let of =
            |definition: &str| Record { definition: Some(definition.into()), ..record(0..5, 0.0, &mut 2) };
        let found = compare(&Baseline::Run(of("a")), &of("b"), &THRESHOLDS).unwrap();
        assert!(found.lines.is_empty() && found.notes[0].contains("a new series begins"));
        // the same seeds again, bit for bit
        let found = compare(&Baseline::Run(of("a")), &of("a"), &THRESHOLDS).unwrap();
        assert!(found.lines.iter().all(|line| line.verdict == Verdict::Ok), "{found:?}");
    }

    /// One new value 0.02 below five of standard deviation 0.0158: t = -0.02 / (0.0158 sqrt(1.2)) = -1.155 on 4 degrees of freedom, p = 0.156.
    #[test]
    fn a_single_value_is_held_against_the_spread_of_the_baseline() {
        let before = [0.48, 0.49, 0.50, 0.51, 0.52];
        let (drop, gain) = one_sided(&before, &[0.48], false).unwrap().unwrap();
        assert!((drop - 0.156).abs() < 1e-3 && (drop + gain - 1.0).abs() < 1e-12, "{drop}");
    }
}
