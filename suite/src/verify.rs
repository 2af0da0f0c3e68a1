//! Checks every file of a run against what the run recorded of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use eqr_datasets::pack;
use serde_json::Value;

use crate::console::counted;
use crate::report;
use crate::run_folder::atomic_file::remove_file;
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::folder::{CellProblem, RunFolder};
use crate::run_folder::{layout, manifest, row_files};
use crate::suite_file::plan::pretrain_id;

/// What was checked, and what is wrong.
#[derive(Debug, Default)]
pub struct Findings {
    /// Number of files that were checked, by kind.
    checked: Vec<(&'static str, usize)>,
    /// A sentence about each file that is not as it was written.
    pub problems: Vec<String>,
    /// What was not checked, and why.
    notes: Vec<String>,
}

impl Findings {
    fn count(&mut self, kind: &'static str, files: usize) {
        self.checked.push((kind, files));
    }

    /// Records the error of a check.
    fn expect<T>(&mut self, checked: Result<T>) -> Option<T> {
        checked.map_err(|error| self.problems.push(format!("{error:#}"))).ok()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.checked.iter().map(|(kind, files)| format!("{files} {kind}")).collect();
        writeln!(f, "checked: {}", counts.join(", "))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// Checks the run in `folder`: manifest, cells, checkpoints, the packs in the run's folder and in
/// `data_roots`, and the files of the report against the cells.
///
/// # Errors
/// A folder that holds no run.
pub fn verify(folder: &RunFolder, data_roots: &[PathBuf]) -> Result<Findings> {
    let mut findings = Findings::default();
    let configuration = match manifest::read_whole(folder).transpose() {
        None => {
            let configuration = folder.configuration_hash()?;
            ensure!(
                configuration.is_some(),
                "{} holds no run: {} is missing",
                folder.root().display(),
                layout::MANIFEST
            );
            findings.problems.push(format!("{} is gone", folder.path(layout::MANIFEST).display()));
            None
        }
        Some(manifest) => findings.expect(manifest.and_then(|manifest| ensure_same_run(folder, manifest))),
    };
    findings.expect(row_files::recorded(folder));
    findings.count("manifest", 1);

    let (cells, problems) = folder.whole_cells()?;
    findings.count("cells", cells.len());
    findings.problems.extend(problems.into_iter().map(|problem| problem.text));

    check_checkpoints(folder, &mut findings);
    check_final_encoders(folder, &cells, &mut findings);
    check_packs(folder, configuration.as_ref(), data_roots, &mut findings);
    check_report(folder, &mut findings);
    Ok(findings)
}

/// The configuration of a manifest that is the one of the folder's cells.
fn ensure_same_run(folder: &RunFolder, manifest: Value) -> Result<Value> {
    let cells = folder.configuration_hash()?;
    ensure!(
        cells.is_some_and(|hash| manifest["configuration_hash"] == hash),
        "{} is not of the configuration in {}",
        folder.path(layout::MANIFEST).display(),
        layout::CELLS_LOG
    );
    Ok(manifest["configuration"].clone())
}

fn check_checkpoints(folder: &RunFolder, findings: &mut Findings) {
    let mut all = Vec::new();
    for training in entries(&folder.path(layout::CHECKPOINTS)) {
        let name = training.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let checkpoints = folder.checkpoints(&name);
        let Some(steps) = findings.expect(checkpoints.steps()) else { continue };
        all.extend(steps.into_iter().map(|step| checkpoints.at_step(step)));
        all.extend(findings.expect(checkpoints.curve()).into_iter().flatten());
    }
    for checkpoint in counted("checking checkpoints", all.iter()) {
        let verified = Checkpoint::open(checkpoint).and_then(|checkpoint| checkpoint.verify());
        findings.expect(verified.map_err(|error| anyhow::Error::from(error).context("a damaged checkpoint")));
    }
    findings.count("checkpoints", all.len());
}

/// Checks that every training that ended has kept its encoder. A run removes only older checkpoints, and
/// `record` keeps none.
fn check_final_encoders(folder: &RunFolder, cells: &[Cell], findings: &mut Findings) {
    if !folder.path(layout::CHECKPOINTS).exists() && !folder.path(layout::LOG).exists() {
        findings.notes.push("a recorded run has no checkpoints to check".to_owned());
        return;
    }
    for cell in cells.iter().filter(|cell| cell.kind == CellKind::Pretrain) {
        let training = cell.id.strip_prefix(&pretrain_id("")).unwrap_or(&cell.id);
        let checkpoint = folder.checkpoints(training).at_step(cell.step);
        if !checkpoint.is_dir() {
            let (encoder, cell) = (checkpoint.display(), folder.path(layout::cell(&cell.id)));
            let text = format!(
                "{encoder} is gone: the encoder of a training that is finished; without {} \
                               `eqr-bench run` trains it again",
                cell.display()
            );
            findings.problems.push(text);
        }
    }
}

/// Checks the packs that the run names, as far as they are in its folder or in `roots`.
fn check_packs(
    folder: &RunFolder,
    configuration: Option<&Value>,
    roots: &[PathBuf],
    findings: &mut Findings,
) {
    let own = entries(&folder.path(layout::DATA)).into_iter().filter(|path| has_extension(path, "h5"));
    let mut packs: Vec<PathBuf> = own.collect();
    for file in configuration.map(pack_files).unwrap_or_default() {
        match roots.iter().map(|root| root.join(&file)).find(|path| path.is_file()) {
            Some(path) => packs.push(path),
            None => findings.notes.push(format!("{file} was not checked: it is in no --data-root")),
        }
    }
    for path in counted("checking packs", packs.iter()) {
        let content =
            findings.expect(pack::verify(path).map_err(anyhow::Error::from)).map(|pack| pack.content);
        let recorded = configuration.map(Value::to_string).unwrap_or_default();
        if content.is_some_and(|content| !recorded.is_empty() && !recorded.contains(&content)) {
            findings.problems.push(format!("{} holds other data than the run used", path.display()));
        }
    }
    findings.count("packs", packs.len());
}

/// Names of the packs that a configuration's suites read.
fn pack_files(configuration: &Value) -> Vec<String> {
    let suite = &configuration["suite"];
    let suites: Vec<&Value> = match suite.get("name") {
        Some(_) => vec![suite],
        None => suite.as_object().into_iter().flat_map(|suites| suites.values()).collect(),
    };
    let sets = suites.into_iter().flat_map(|suite| {
        let lists = ["transfer", "segmentation"].into_iter().flat_map(|key| suite[key].as_array()).flatten();
        std::iter::once(&suite["data"]).chain(lists)
    });
    let mut files: Vec<String> = sets.filter_map(|set| set["file"].as_str().map(str::to_owned)).collect();
    files.sort();
    files.dedup();
    files
}

/// Compares the files of a finished run's report with those that its cells give.
fn check_report(folder: &RunFolder, findings: &mut Findings) {
    if !folder.path(layout::TIMING).exists() {
        findings.notes.push("the run is not finished, so it has no report to check".to_owned());
        return;
    }
    let Some(contexts) = findings.expect(report::stored_contexts(folder)) else { return };
    // a cell with a problem was named already
    let Ok(files) = report::files(folder, &contexts) else { return };
    for (name, expected) in &files {
        let path = folder.path(name);
        let problem = match fs::read(&path) {
            Ok(found) if found == *expected => continue,
            Ok(_) => {
                "is not what this program makes of the cells: it was changed, or another version wrote it"
            }
            Err(_) => "is gone or cannot be read",
        };
        findings.problems.push(format!("{} {problem}", path.display()));
    }
    findings.count("files of the report", files.len());
}

/// Sets damaged cells aside, removes half-written files, and writes the report anew if no cell was lost.
/// Returns the cells that were lost: the run is then no longer finished.
///
/// # Errors
/// A file system error; no cell that is whole.
pub fn repair(folder: &RunFolder) -> Result<Vec<CellProblem>> {
    folder.remove_temporaries()?;
    let lost = folder.set_damaged_cells_aside()?;
    if !lost.is_empty() {
        remove_file(&folder.path(layout::TIMING))?;
    } else if folder.path(layout::TIMING).exists() {
        let contexts = report::stored_contexts(folder)?;
        report::write(folder, &folder.cells()?, &contexts).context("the report cannot be written anew")?;
    }
    Ok(lost)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
