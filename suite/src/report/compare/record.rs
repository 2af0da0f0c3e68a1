//! A run as `compare` reads it: its folder, its `metrics.csv`, or a folder of recorded runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use csv::StringRecord;
use serde::Deserialize;
use serde_json::Value;

use super::headlines::{Collected, Draw, Headlines};
use crate::registry::{Better, is_headline};
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::csv_text::unguarded;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::metric::Metric;
use crate::run_folder::{layout, manifest, metrics_file, value_range};

/// Values of the trainings of a run, by method.
pub type Trainings = BTreeMap<String, Vec<f64>>;

/// A run as `compare` reads it.
#[derive(Default)]
pub struct Record {
    /// Name of the run's folder, or of the file.
    pub name: String,
    /// The headline of every row, by pretraining seed.
    pub headlines: Headlines,
    /// Steps per second of the trainings, by method.
    pub speeds: Trainings,
    /// Watt-hours per million views of the trainings, by method and by what was counted.
    pub energies: Trainings,
    /// Why trainings have no energy.
    pub no_energy: Option<String>,
    /// What was measured: the configuration without the parts that may differ between runs of one series.
    pub definition: Option<Value>,
    /// The hardware it was measured on; `null` if the run was continued on other hardware.
    pub hardware: Option<Value>,
    /// When the run was started, as sortable text; empty for a file.
    pub started: String,
}

/// What a run is compared with.
pub enum Baseline {
    /// One run, or its metrics.csv.
    Run(Box<Record>),
    /// Recorded runs, oldest first.
    Series(Vec<Record>),
}

impl From<Record> for Baseline {
    fn from(run: Record) -> Baseline {
        Baseline::Run(Box::new(run))
    }
}

impl Baseline {
    /// Reads a run or file as [`Record::read`] does, or a folder of run folders.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read(path: &Path) -> Result<Baseline> {
        if !path.is_dir() || path.join(layout::MANIFEST).exists() {
            return Record::read(path).map(Baseline::from);
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut runs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        runs.retain(|run| run.join(layout::MANIFEST).exists());
        ensure!(
            !runs.is_empty(),
            "{} holds neither a run nor recorded runs\n\
             hint: name a run's folder, its metrics.csv, or a folder that `eqr-bench record` fills",
            path.display()
        );
        runs.sort();
        let mut records = runs.iter().map(|run| Record::read(run)).collect::<Result<Vec<Record>>>()?;
        records.sort_by(|a, b| a.started.cmp(&b.started));
        Ok(Baseline::Series(records))
    }
}

impl Record {
    /// Reads a run's folder, or a file with the columns of `metrics.csv`, which has neither a definition nor
    /// speeds.
    ///
    /// # Errors
    /// A folder that holds no run or no finished cell, a file that is not a metrics.csv.
    pub fn read(path: &Path) -> Result<Record> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_dir() {
            return Ok(Record { name, headlines: read_headlines(path)?, ..Record::default() });
        }
        let folder = RunFolder::new(path);
        let manifest = manifest::read_whole(&folder)?.with_context(|| {
            let manifest = folder.path(layout::MANIFEST);
            format!("{} is missing\nhint: name a run's folder, or its metrics.csv", manifest.display())
        })?;
        let (cells, problems) = folder.whole_cells()?;
        let problems: Vec<String> = problems.into_iter().map(|problem| problem.text).collect();
        ensure!(problems.is_empty(), "{} is incomplete:\n{}", path.display(), problems.join("\n"));
        if cells.is_empty() {
            bail!("{} has no finished cell", path.display());
        }
        let at_end = cells.iter().filter(|cell| cell.last);
        let metrics: Vec<Metric> = at_end.flat_map(|cell| cell.metrics.clone()).collect();
        Ok(Record {
            name,
            headlines: Headlines::of(&metrics),
            speeds: of_trainings(&cells, speed),
            energies: of_trainings(&cells, energy),
            no_energy: cells.iter().find_map(|cell| cell.energy.as_ref()?.not_available.clone()),
            definition: Some(definition(&manifest["configuration"])),
            hardware: Some(hardware(&manifest)),
            started: manifest["provenance"]["started"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// A line of `metrics.csv`. Only the columns that are compared are read.
#[derive(Deserialize)]
struct Line<'a> {
    dataset: &'a str,
    task: &'a str,
    method: &'a str,
    metric: &'a str,
    pretrain_seed: u64,
    value: f64,
    better: Better,
}

/// The headlines of a file with the columns of `metrics.csv`.
fn read_headlines(path: &Path) -> Result<Headlines> {
    let place = path.display();
    let other_file =
        || format!("{place} is not a metrics.csv\nhint: name a run's folder, or its metrics.csv");
    let mut reader = metrics_file::open(path)?;
    let columns = reader.headers().with_context(other_file)?.clone();
    let (mut collected, mut row, mut is_empty) = (Collected::default(), StringRecord::new(), true);
    while reader.read_record(&mut row).with_context(other_file)? {
        is_empty = false;
        let found: Line = row.deserialize(Some(&columns)).with_context(other_file)?;
        let Line { pretrain_seed, value, better, .. } = found;
        let [dataset, task, metric, method] =
            [found.dataset, found.task, found.metric, found.method].map(unguarded);
        // what is not compared does no harm
        if !is_headline(task, metric) {
            continue;
        }
        value_range::check(task, metric, value).with_context(|| {
            let line = row.position().map_or(0, csv::Position::line);
            format!("{place}: line {line}: {dataset}, {method}")
        })?;
        collected.add(Draw { dataset, task, metric, method, better, pretrain_seed, value });
    }
    ensure!(!is_empty, "{place} holds no value");
    Ok(collected.sorted())
}

/// Steps per second.
fn speed(cell: &Cell) -> Option<(&'static str, f64)> {
    Some(("", cell.step as f64 / cell.seconds))
}

/// What the energy is of, and watt-hours per million views, unless the counters stood still.
fn energy(cell: &Cell) -> Option<(&'static str, f64)> {
    let of = cell.energy.as_ref()?.total()?.of;
    Some((of, cell.wh_per_million_views().filter(|wh| *wh > 0.0)?))
}

/// A value of the trainings that ran without interruption, with what it is of, if that must be named.
fn of_trainings(cells: &[Cell], value: impl Fn(&Cell) -> Option<(&'static str, f64)>) -> Trainings {
    let mut all = Trainings::new();
    for cell in
        cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && !cell.resumed && cell.seconds > 0.0)
    {
        let Some((of, value)) = value(cell) else { continue };
        let key = cell.data_set.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        let of = if of.is_empty() { String::new() } else { format!(" ({of})") };
        all.entry(format!("{key}{}{of}", cell.method)).or_default().push(value);
    }
    all
}

/// The hardware that a speed depends on; `null` if it differs between the calls of a run.
pub(super) fn hardware(manifest: &Value) -> Value {
    let hardware_of_call = |call: &Value| -> Value {
        let gpus =
            call["gpus"].as_array().into_iter().flatten().map(|gpu| gpu["name"].clone()).collect::<Value>();
        let key_and_value = |&key: &&str| (key.to_owned(), call[key].clone());
        let all = ["cpu", "device", "ranks", "threads"].iter().map(key_and_value);
        all.chain(gpus.as_array().is_some_and(|gpus| !gpus.is_empty()).then(|| ("gpus".to_owned(), gpus)))
            .collect()
    };
    let first = hardware_of_call(&manifest["provenance"]);
    let mut later = manifest["continued"].as_array().into_iter().flatten();
    if later.all(|call| hardware_of_call(call) == first) { first } else { Value::Null }
}

/// A configuration without its rows and seeds, whose number may differ between runs of one series.
fn definition(configuration: &Value) -> Value {
    let mut definition = configuration.clone();
    let drop = |suite: &mut Value| {
        if let Some(keys) = suite.as_object_mut() {
            keys.retain(|key, _| !["methods", "seeds", "claim", "title", "notes"].contains(&key.as_str()));
        }
    };
    if let Some(keys) = definition.as_object_mut() {
        keys.remove("until_decided");
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::energy::Energy;
    use crate::report::fixture::pretrain;

    #[test]
    fn energies_of_different_things_are_not_compared() {
        let cell = |seed, energy: Energy, resumed| Cell {
            views: Some(1_000_000),
            energy: Some(energy),
            resumed,
            ..pretrain("Ours", seed, &[(10, 1.0)])
        };
        let processors = |wh| Energy { processors_wh: Some(wh), ..Energy::default() };
        let nodes = Energy { nodes_wh: Some(9.0), ..Energy::default() };
        let cells = [
            cell(0, processors(1.0), false),
            cell(1, processors(2.0), false),
            cell(2, nodes, false),
            cell(3, Energy::not_available("no counters"), false),
            cell(4, processors(5.0), true),
        ];
        let energies = of_trainings(&cells, energy);
        let found: Vec<(&str, &[f64])> =
            energies.iter().map(|(key, wh)| (key.as_str(), wh.as_slice())).collect();
        assert_eq!(found, [("Ours (nodes)", &[9.0][..]), ("Ours (processors)", &[1.0, 2.0])]);
        assert_eq!(of_trainings(&cells, speed)["Ours"].len(), 4);
    }

    #[test]
    fn calls_on_other_hardware_are_no_hardware_at_all() {
        let call = |threads: u64| json!({"cpu": "c", "device": "Cpu", "ranks": 1, "threads": threads});
        let manifest = |later: &[u64]| json!({"provenance": call(2), "continued": later.iter().map(|&threads| call(threads)).collect::<Vec<_>>()});
        assert_eq!(hardware(&manifest(&[2, 2])), hardware(&json!({"provenance": call(2)})));
        assert!(hardware(&manifest(&[2, 1])).is_null());
    }
}
