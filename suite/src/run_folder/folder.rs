//! The folder of a run: its cells, failure reports and log.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::{Cell, SCHEMA};
use crate::run_folder::checkpoints::Checkpoints;
use crate::run_folder::layout;

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
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

    /// The checkpoints of the training called `training`.
    pub fn checkpoints(&self, training: &str) -> Checkpoints {
        Checkpoints { folder: self.path(layout::checkpoints(training)) }
    }

    /// Whether the cell is finished.
    pub fn has_cell(&self, id: &str) -> bool {
        self.path(layout::cell(id)).is_file()
    }

    /// Writes a finished cell.
    ///
    /// # Errors
    /// A file system error.
    pub fn write_cell(&self, cell: &Cell) -> Result<()> {
        write_atomic(&self.path(layout::cell(&cell.id)), serde_json::to_string_pretty(cell)?.as_bytes())
    }

    /// Reads a finished cell.
    ///
    /// # Errors
    /// A file that is absent, cannot be read or has another version.
    pub fn cell(&self, id: &str) -> Result<Cell> {
        read_cell(&self.path(layout::cell(id)))
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
        let path = self.path(layout::failed_cell(id));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Appends a line to the log.
    ///
    /// # Errors
    /// A file system error.
    pub fn log(&self, line: &Value) -> Result<()> {
        let path = self.path(layout::LOG);
        let append = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            writeln!(file, "{line}")
        };
        append().with_context(|| format!("cannot append to {}", path.display()))
    }

    /// All finished cells, by id.
    ///
    /// # Errors
    /// A cell file that cannot be read or has another version; the message names it.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        self.cell_paths()?.iter().map(|path| read_cell(path)).collect()
    }

    /// The finished cells that can be read, by id, and the errors of those that cannot.
    ///
    /// # Errors
    /// A folder that is not a run.
    pub fn readable_cells(&self) -> Result<(Vec<Cell>, Vec<String>)> {
        let (mut cells, mut problems) = (Vec::new(), Vec::new());
        for path in self.cell_paths()? {
            match read_cell(&path) {
                Ok(cell) => cells.push(cell),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        Ok((cells, problems))
    }

    fn cell_paths(&self) -> Result<Vec<PathBuf>> {
        let files = fs::read_dir(self.path(layout::CELLS));
        let files = files.with_context(|| format!("{} is not a run directory", self.root.display()))?;
        let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths)
    }
}

fn read_cell(path: &Path) -> Result<Cell> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cell: Cell = serde_json::from_str(&text).with_context(|| {
        format!("{} is damaged\nhint: remove it and run again to redo the cell", path.display())
    })?;
    if cell.schema != SCHEMA {
        bail!("{}: cell format {}, this program reads {SCHEMA}", path.display(), cell.schema);
    }
    Ok(cell)
}
