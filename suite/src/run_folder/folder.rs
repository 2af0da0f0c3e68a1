//! The folder of a run: its cells, failure reports and log.
//!
//! Cells are sealed, and `cells.log` lists the checksum of each finished cell: a cell that was changed,
//! exchanged or removed, or that another run wrote, is recognised.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use eqr_datasets::output::is_temporary;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run_folder::atomic_file::{remove_file, write_atomic};
use crate::run_folder::cell::{Cell, SCHEMA};
use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::seal::Unsealed;
use crate::run_folder::{layout, seal, value_range};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

/// What is wrong with a cell of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellProblem {
    /// The cell's file, whether or not it exists.
    pub path: PathBuf,
    /// What is wrong, with the file's name.
    pub text: String,
}

impl CellProblem {
    /// The error of a reader that needs every cell.
    pub fn refusal(&self) -> anyhow::Error {
        anyhow!("{}\nhint: `eqr-bench run` with the same options makes it anew", self.text)
    }
}

/// A line of `cells.log`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum LogLine {
    /// The first line: hash of the configuration that the cells belong to.
    Configuration { configuration: String },
    /// A finished cell and the hash of its file's content.
    Finished { cell: String, blake3: String },
}

impl RunFolder {
    /// The run at `root`; no file is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        RunFolder { root: root.into() }
    }

    /// Path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the folder, by one of the names of [`layout`].
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Checks that the folder exists or can be made, without making it.
    ///
    /// # Errors
    /// A file in its place or in that of a folder above it; a folder that must not be written to.
    pub fn ensure_can_be_made(&self) -> Result<()> {
        let path = std::path::absolute(&self.root)?;
        let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(&path);
        let shown = || format!("cannot use {} as --out", self.root.display());
        ensure!(existing.is_dir(), "{}: {} is not a folder", shown(), existing.display());
        access(existing, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(std::io::Error::from)
            .with_context(|| format!("{}: cannot write to {}", shown(), existing.display()))
    }

    /// The checkpoints of the training called `training`.
    pub fn checkpoints(&self, training: &str) -> Checkpoints {
        Checkpoints { folder: self.path(layout::checkpoints(training)) }
    }

    /// Whether the cell is finished.
    pub fn has_cell(&self, id: &str) -> bool {
        self.path(layout::cell(id)).is_file()
    }

    /// Writes a finished cell, after its line in `cells.log`: a cell without its line is none of this run.
    ///
    /// # Errors
    /// A value that its metric cannot have; a folder that is no run, as when it was removed while the run
    /// went on; a file system error.
    pub fn write_cell(&self, cell: &Cell) -> Result<()> {
        value_range::check_all(&cell.metrics).with_context(|| cell.id.clone())?;
        let text = seal::seal(cell)?;
        let line = LogLine::Finished { cell: cell.id.clone(), blake3: seal::unseal(&text)?.hash };
        ensure!(
            self.path(layout::MANIFEST).is_file(),
            "{}: manifest.json is gone: the folder was removed or changed while the run went on\n\
             hint: run again, with another --out if someone else uses this folder",
            self.root.display()
        );
        append(&self.path(layout::CELLS_LOG), &serde_json::to_string(&line)?)?;
        write_atomic(&self.path(layout::cell(&cell.id)), text.as_bytes())
    }

    /// Reads a finished cell.
    ///
    /// # Errors
    /// A cell that is absent, damaged, of another version, or not one of this run.
    pub fn cell(&self, id: &str) -> Result<Cell> {
        self.read_cell(&self.path(layout::cell(id)), &self.finished()?)
    }

    /// Writes a report of why a cell failed and returns its path.
    ///
    /// # Errors
    /// A file system error.
    pub fn write_failed(&self, id: &str, report: &Value) -> Result<PathBuf> {
        let path = self.path(layout::failed_cell(id));
        write_atomic(&path, serde_json::to_string_pretty(report)?.as_bytes())?;
        Ok(path)
    }

    /// Removes the report of a cell that failed earlier and is now finished.
    ///
    /// # Errors
    /// A file system error.
    pub fn clear_failed(&self, id: &str) -> Result<()> {
        remove_file(&self.path(layout::failed_cell(id)))
    }

    /// Appends a line to the log.
    ///
    /// # Errors
    /// A file system error.
    pub fn log(&self, line: &Value) -> Result<()> {
        append(&self.path(layout::LOG), &line.to_string())
    }

    /// All finished cells, by id.
    ///
    /// # Errors
    /// As [`RunFolder::whole_cells`]; a cell with a problem, which is named.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let (cells, problems) = self.whole_cells()?;
        problems.first().map_or(Ok(cells), |problem| Err(problem.refusal()))
    }

    /// The finished cells that are as they were written, by id, and what is wrong with the others.
    ///
    /// # Errors
    /// A folder that is not a run.
    pub fn whole_cells(&self) -> Result<(Vec<Cell>, Vec<CellProblem>)> {
        // a run that goes on writes a cell's line before its file, so they are read the other way round
        let paths = self.cell_paths()?;
        let finished = self.finished()?;
        let (mut cells, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match self.read_cell(&path, &finished) {
                Ok(cell) => cells.push(cell),
                Err(error) => problems.push(CellProblem { path, text: format!("{error:#}") }),
            }
        }
        for id in finished.keys().filter(|id| !self.has_cell(id)) {
            let path = self.path(layout::cell(id));
            let text = format!("{} is gone: {} lists it as finished", path.display(), layout::CELLS_LOG);
            problems.push(CellProblem { path, text });
        }
        Ok((cells, problems))
    }

    /// Moves every cell with a problem into `damaged/`, removes its line from `cells.log`, so that it counts
    /// as not finished, and returns the problems.
    ///
    /// # Errors
    /// A folder that is not a run, a file system error.
    pub fn set_damaged_cells_aside(&self) -> Result<Vec<CellProblem>> {
        let (_, problems) = self.whole_cells()?;
        for CellProblem { path, .. } in problems.iter().filter(|problem| problem.path.exists()) {
            let aside = self.path(layout::DAMAGED).join(path.file_name().expect("a cell's file has a name"));
            fs::create_dir_all(self.path(layout::DAMAGED))
                .and_then(|()| fs::rename(path, &aside))
                .with_context(|| format!("cannot move {} to {}", path.display(), aside.display()))?;
        }
        if !problems.is_empty() {
            self.rewrite_log(self.configuration_hash()?, self.finished()?)?;
        }
        Ok(problems)
    }

    /// Rewrites `cells.log` with this configuration and without the cells that are gone.
    fn rewrite_log(&self, configuration: Option<String>, finished: BTreeMap<String, String>) -> Result<()> {
        let configuration = configuration.map(|configuration| LogLine::Configuration { configuration });
        let kept = finished.into_iter().filter(|(id, _)| self.has_cell(id));
        let cells = kept.map(|(cell, blake3)| LogLine::Finished { cell, blake3 });
        let lines =
            configuration.into_iter().chain(cells).map(|line| Ok(serde_json::to_string(&line)? + "\n"));
        let text = lines.collect::<Result<String>>()?;
        write_atomic(&self.path(layout::CELLS_LOG), text.as_bytes())
    }

    fn cell_paths(&self) -> Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.path(layout::CELLS));
        let files = files.with_context(|| format!("{} is not a run directory", self.root.display()))?;
        let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths)
    }

    /// Checks that nothing in the folder is a symbolic link: what a run writes stays inside its folder.
    ///
    /// # Errors
    /// A link, which is named; a folder that cannot be listed.
    pub fn ensure_without_links(&self) -> Result<()> {
        fn check(folder: &Path) -> Result<()> {
            let entries =
                fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
            for entry in entries {
                let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
                let kind = entry.with_context(|| path.display().to_string())?;
                ensure!(
                    !kind.is_symlink(),
                    "{} is a link: a run would write to where it leads\n\
                     hint: remove it, or name another folder for --out",
                    path.display()
                );
                if kind.is_dir() {
                    check(&path)?;
                }
            }
            Ok(())
        }
        if self.root.is_dir() { check(&self.root) } else { Ok(()) }
    }

    /// Removes the files that a killed call was writing. Only the owner of the folder's lock may do so.
    ///
    /// # Errors
    /// A file system error.
    pub fn remove_temporaries(&self) -> Result<()> {
        for folder in ["", layout::CELLS, layout::DATA, layout::FAILED, layout::FIGURES, layout::TABLES] {
            let folder = self.path(folder);
            for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if is_temporary(&file.file_name().to_string_lossy()) && file.path().is_file() {
                    fs::remove_file(file.path())
                        .with_context(|| format!("cannot remove {}", file.path().display()))?;
                }
            }
        }
        Ok(())
    }

    /// Hash of the configuration that the cells belong to, if it is recorded.
    ///
    /// # Errors
    /// A file system error.
    pub fn configuration_hash(&self) -> Result<Option<String>> {
        Ok(self.log_lines()?.into_iter().find_map(|line| match line {
            LogLine::Configuration { configuration } => Some(configuration),
            LogLine::Finished { .. } => None,
        }))
    }

    /// Records the hash of the configuration that the cells belong to. If the whole log is gone, every cell
    /// that has its own seal and name is listed again, and `true` is returned.
    ///
    /// # Errors
    /// A file system error.
    pub(super) fn record_configuration(&self, hash: &str) -> Result<bool> {
        if self.configuration_hash()?.as_deref() == Some(hash) {
            return Ok(false);
        }
        let mut finished = self.finished()?;
        let is_gone = finished.is_empty();
        if is_gone {
            for path in self.cell_paths()? {
                let sealed = sealed_cell(&path).ok();
                finished.extend(sealed.map(|(cell, hash)| (cell.id, hash)));
            }
        }
        self.rewrite_log(Some(hash.to_owned()), finished.clone())?;
        Ok(is_gone && !finished.is_empty())
    }

    /// Checksums of the finished cells, by id; the last line of a cell counts.
    fn finished(&self) -> Result<BTreeMap<String, String>> {
        let lines = self.log_lines()?.into_iter();
        Ok(lines
            .filter_map(|line| match line {
                LogLine::Finished { cell, blake3 } => Some((cell, blake3)),
                LogLine::Configuration { .. } => None,
            })
            .collect())
    }

    /// The lines of `cells.log`. Lines that a crash has cut are skipped, because their cells were not
    /// written.
    fn log_lines(&self) -> Result<Vec<LogLine>> {
        let path = self.path(layout::CELLS_LOG);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn read_cell(&self, path: &Path, finished: &BTreeMap<String, String>) -> Result<Cell> {
        let (cell, hash) = sealed_cell(path)?;
        ensure!(
            finished.get(&cell.id) == Some(&hash),
            "{} is not the cell that this run wrote: {} has another checksum, or none",
            path.display(),
            layout::CELLS_LOG
        );
        Ok(cell)
    }
}

/// A cell that is whole and has its own name, and its checksum.
fn sealed_cell(path: &Path) -> Result<(Cell, String)> {
    let shown = path.display();
    let text = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let text = String::from_utf8_lossy(&text);
    let damaged = || format!("{shown} is damaged");
    let Unsealed { content, hash } = seal::unseal(&text).with_context(damaged)?;
    let cell: Cell = serde_json::from_str(&content).with_context(damaged)?;
    ensure!(cell.schema == SCHEMA, "{shown}: cell format {}, this program reads {SCHEMA}", cell.schema);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(cell.id == name, "{shown} holds the cell {}: it was copied or renamed", cell.id);
    value_range::check_all(&cell.metrics).with_context(damaged)?;
    Ok((cell, hash))
}

/// Appends a line to a file, and syncs it. A line that a crash has cut off stays a line of its own.
fn append(path: &Path, line: &str) -> Result<()> {
    let append = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).read(true).append(true).open(path)?;
        // ranks on several nodes of a network file system would overwrite each other's lines; a file system
        // without locks is local, or its appends are atomic
        let _ = file.lock();
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let cut = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{cut}{line}\n").as_bytes())?;
        file.sync_data()
    };
    append().map_err(|error| {
        let is_gone = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if is_gone {
            "\nthe folder was removed or renamed while the run went on\nhint: run again with the same options"
        } else {
            ""
        };
        anyhow!("cannot append to {}: {error}{hint}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell(seed: u64) -> Cell {
        let cell = json!({
            "schema": SCHEMA, "id": format!("probe-ours-{seed}"), "kind": "probe", "method": "Ours",
            "pretrain_seed": seed, "step": 100, "last": true, "metrics": [], "curve": [], "seconds": 1.0,
            "resumed": false,
        });
        serde_json::from_value(cell).unwrap()
    }

    /// A run folder with three finished cells.
    fn run() -> (tempfile::TempDir, RunFolder) {
        let place = tempfile::tempdir().unwrap();
        let run = RunFolder::new(place.path());
        fs::write(run.path(layout::MANIFEST), "{}").unwrap();
        for seed in 0..3 {
            run.write_cell(&cell(seed)).unwrap();
        }
        (place, run)
    }

    fn problem(run: &RunFolder) -> String {
        let (_, problems) = run.whole_cells().unwrap();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        problem.text.clone()
    }

    #[test]
    fn a_cell_is_only_what_this_run_wrote_under_its_name() {
        let (_place, run) = run();
        let path = |seed| run.path(layout::cell(&format!("probe-ours-{seed}")));
        assert_eq!(run.cells().unwrap().len(), 3);

        // a changed digit with a seal that fits
        let text = fs::read_to_string(path(1)).unwrap();
        let changed = Cell { seconds: 2.0, ..run.cell("probe-ours-1").unwrap() };
        fs::write(path(1), seal::seal(&changed).unwrap()).unwrap();
        assert!(problem(&run).contains("probe-ours-1.json is not the cell that this run wrote"));
        // without
        fs::write(path(1), text.replace("\"seconds\": 1.0", "\"seconds\": 2.0")).unwrap();
        assert!(problem(&run).contains("probe-ours-1.json is damaged"), "{}", problem(&run));
        assert!(run.cell("probe-ours-1").is_err() && run.cells().is_err());
        fs::write(path(1), &text).unwrap();

        // a copy under another name, and one over another cell
        fs::write(run.path("cells/copy.json"), &text).unwrap();
        assert!(problem(&run).contains("copy.json holds the cell probe-ours-1"));
        fs::remove_file(run.path("cells/copy.json")).unwrap();
        let other = fs::read_to_string(path(2)).unwrap();
        fs::write(path(2), &text).unwrap();
        assert!(problem(&run).contains("probe-ours-2.json holds the cell probe-ours-1"));
        fs::write(path(2), other).unwrap();

        fs::remove_file(path(0)).unwrap();
        assert!(problem(&run).contains("probe-ours-0.json is gone"));
    }

    #[test]
    fn a_value_that_no_measurement_gives_is_refused_by_name() {
        let (_place, run) = run();
        let mut measured = cell(1);
        measured.metrics = serde_json::from_value(json!([{
            "suite": "s", "table": "-", "dataset": "d", "task": "classification", "method": "Ours", "metric": "top1",
            "pretrain_seed": 1, "eval_seed": 0, "value": 7.4, "unit": "fraction", "better": "higher", "cell": "c",
        }]))
        .unwrap();
        let says = "classification top1 is 7.4: must be a number from 0 to 1";
        let error = format!("{:#}", run.write_cell(&measured).unwrap_err());
        assert!(error.contains(says) && error.contains("probe-ours-1"), "{error}");
        // with a seal and a line in the log that fit
        let text = seal::seal(&measured).unwrap();
        fs::write(run.path(layout::cell(&measured.id)), &text).unwrap();
        let line = json!({"cell": measured.id, "blake3": seal::unseal(&text).unwrap().hash});
        append(&run.path(layout::CELLS_LOG), &line.to_string()).unwrap();
        assert!(problem(&run).contains("probe-ours-1.json is damaged") && problem(&run).contains(says));
    }

    #[test]
    fn what_is_set_aside_can_be_made_anew() {
        let (_place, run) = run();
        let path = run.path(layout::cell("probe-ours-1"));
        fs::write(&path, "{").unwrap();
        assert_eq!(run.set_damaged_cells_aside().unwrap().len(), 1);
        assert!(!run.has_cell("probe-ours-1") && run.path("damaged/probe-ours-1.json").is_file());
        run.write_cell(&Cell { seconds: 3.0, ..cell(1) }).unwrap();
        assert_eq!(run.cells().unwrap().len(), 3);
    }

    #[test]
    fn a_line_that_a_crash_has_cut_hides_no_other() {
        let (_place, run) = run();
        let log = run.path(layout::CELLS_LOG);
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, format!("{text}{{\"cell\": \"pro")).unwrap();
        run.write_cell(&cell(3)).unwrap();
        assert_eq!(run.cells().unwrap().len(), 4);
    }

    #[test]
    fn a_folder_that_is_gone_takes_no_cell() {
        let (place, run) = run();
        place.close().unwrap();
        let error = format!("{:#}", run.write_cell(&cell(3)).unwrap_err());
        assert!(error.contains("manifest.json is gone"), "{error}");
        assert!(!run.root().exists());
    }
}
