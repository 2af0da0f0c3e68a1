//! `eqr-bench merge`: the rows of several runs that measure alike, as one run. Every cell is copied as it is;
//! the manifest keeps the provenance of each run and says which rows it brought.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use eqr_datasets::output::is_temporary;
use serde_json::{Value, json};

use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::joint_configuration::{join, join_maps, join_objects};
use crate::run_folder::{layout, manifest, row_files, seal};

/// A run that brings its rows.
pub struct Source {
    folder: RunFolder,
    manifest: Value,
    cells: Vec<Cell>,
}

impl Source {
    /// Reads a run.
    ///
    /// # Errors
    /// A folder that holds no run, a run that is still going on, has no finished cell or a damaged one.
    pub fn open(folder: RunFolder) -> Result<Source> {
        let shown = folder.root().display();
        ensure!(
            !folder.path(layout::LOCK).exists(),
            "{shown}: a run is using this folder\nhint: wait for it"
        );
        let manifest = manifest::read_whole(&folder)?
            .with_context(|| format!("{shown} holds no run: manifest.json is missing"))?;
        let cells = folder.cells()?;
        let again = "hint: `eqr-bench run` with the same --out does what is missing";
        ensure!(!cells.is_empty(), "{shown} has no finished cell\n{again}");
        Ok(Source { manifest, cells, folder })
    }

    /// The folder of the run.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Names of the rows that have a finished cell.
    pub fn rows(&self) -> BTreeSet<&str> {
        self.cells.iter().map(|cell| cell.method.as_str()).collect()
    }

    /// Whether the run has ended.
    pub fn is_finished(&self) -> bool {
        self.folder.path(layout::TIMING).exists()
    }

    /// The run in a line: its folder, rows, start, program and machine.
    pub fn line(&self) -> String {
        let provenance = &self.manifest["provenance"];
        let text = |key: &str| provenance[key].as_str().unwrap_or("unknown").to_owned();
        format!(
            "{}: {} (started {}, program {}, {})",
            self.name(),
            Vec::from_iter(self.rows()).join("; "),
            text("started"),
            text("git"),
            text("cpu")
        )
    }

    fn name(&self) -> String {
        let named = self.folder.root().canonicalize().ok();
        let name = named.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
        name.map_or_else(|| self.folder.root().display().to_string(), |name| name.into_owned())
    }
}

/// Writes the manifest, the cells, the hashes of the rows' files and the pictures of all runs into `target`.
///
/// # Errors
/// Runs that do not measure alike; a cell or a row that two runs have with different content; a file system
/// error.
pub fn assemble(sources: &[Source], target: &RunFolder) -> Result<()> {
    let configuration = joint_configuration(sources)?;
    let cells = joint_cells(sources)?;
    let rows =
        sources.iter().map(|source| row_files::recorded(&source.folder)).collect::<Result<Vec<_>>>()?;
    let rows = join_maps(rows, |row| {
        format!("row {row}: two runs have it from different files\nhint: give one of them another name")
    })?;
    let hash = blake3::hash(configuration.to_string().as_bytes()).to_hex().to_string();
    write_manifest(sources, &configuration, &hash, target)?;
    fs::create_dir_all(target.path(layout::CELLS))?;
    target.record_configuration(&hash)?;
    cells.values().try_for_each(|cell| target.write_cell(cell))?;
    if !rows.is_empty() {
        seal::write_sealed(&target.path(layout::ROW_FILES), &rows)?;
    }
    sources.iter().try_for_each(|source| copy_pictures(&source.folder, target))
}

fn joint_configuration(sources: &[Source]) -> Result<Value> {
    let (first, others) = sources.split_first().context("no run to merge")?;
    others.iter().try_fold(first.manifest["configuration"].clone(), |joint, other| {
        join(&joint, &other.manifest["configuration"]).with_context(|| {
            format!("{} and {}", first.folder.root().display(), other.folder.root().display())
        })
    })
}

/// The cells of all runs, by id.
fn joint_cells(sources: &[Source]) -> Result<BTreeMap<&str, &Cell>> {
    let mut joint: BTreeMap<&str, (&Cell, &Source)> = BTreeMap::new();
    for source in sources {
        for cell in &source.cells {
            let (found, from) = *joint.entry(&cell.id).or_insert((cell, source));
            ensure!(
                same_result(found, cell),
                "{}: {} and {} have different values of it\nhint: give the row another name in one of them",
                cell.id,
                from.folder.root().display(),
                source.folder.root().display()
            );
        }
    }
    Ok(joint.into_iter().map(|(id, (cell, _))| (id, cell)).collect())
}

/// Whether two cells hold the same result, however long it took and whatever energy.
pub fn same_result(a: &Cell, b: &Cell) -> bool {
    *a == Cell { seconds: a.seconds, resumed: a.resumed, energy: a.energy.clone(), ..b.clone() }
}

fn write_manifest(sources: &[Source], configuration: &Value, hash: &str, target: &RunFolder) -> Result<()> {
    let source = |source: &Source| {
        json!({
            "run": source.name(),
            "rows": source.rows(),
            "configuration_hash": source.manifest["configuration_hash"],
            "provenance": source.manifest["provenance"],
            "continued": source.manifest["continued"],
        })
    };
    let manifests: Vec<Value> = sources.iter().map(|source| source.manifest.clone()).collect();
    let mut manifest = json!({
        "schema": manifests[0]["schema"],
        "configuration": configuration,
        "configuration_hash": hash,
        "provenance": manifests[0]["provenance"],
        "merged": sources.iter().map(source).collect::<Vec<_>>(),
    });
    for key in ["encoders", "energy"] {
        let joint = join_objects(&manifests, key);
        if !joint.is_empty() {
            manifest[key] = Value::Object(joint);
        }
    }
    seal::write_sealed(&target.path(layout::MANIFEST), &manifest)
}

/// Copies the pictures of encoders that are not there yet, which a report cannot draw again; those that it draws
/// are replaced by it.
///
/// # Errors
/// A file system error.
pub fn copy_pictures(from: &RunFolder, to: &RunFolder) -> Result<()> {
    let folder = from.path(layout::FIGURES);
    if !folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(to.path(layout::FIGURES))?;
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let file = file?;
        let copy = to.path(layout::FIGURES).join(file.file_name());
        if !copy.exists() && !is_temporary(&file.file_name().to_string_lossy()) {
            fs::copy(file.path(), copy)?;
        }
    }
    Ok(())
}
