//! The run store: one folder a run, one immutable JSON file a finished cell. Tables derive from the cells alone.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::{Cell, SCHEMA};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The run at `root`; nothing is touched.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        RunFolder { root: root.into() }
    }

    /// The run's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the run.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    fn cell_path(&self, id: &str) -> PathBuf {
        self.path("cells").join(format!("{id}.json"))
    }

    /// Whether the cell is finished.
    pub fn has(&self, id: &str) -> bool {
        self.cell_path(id).is_file()
    }

    /// Writes a finished cell.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_cell(&self, cell: &Cell) -> Result<()> {
        write_atomic(&self.cell_path(&cell.id), serde_json::to_string_pretty(cell)?.as_bytes())
    }

    /// A finished cell.
    ///
    /// # Errors
    /// A file that is not there, cannot be read or is of another version.
    pub fn cell(&self, id: &str) -> Result<Cell> {
        read_cell(&self.cell_path(id))
    }

    fn failed_path(&self, id: &str) -> PathBuf {
        self.path("failed").join(format!("{id}.json"))
    }

    /// Writes why a cell could not be finished; returns the file.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_failed(&self, id: &str, report: &serde_json::Value) -> Result<PathBuf> {
        let path = self.failed_path(id);
        write_atomic(&path, serde_json::to_string_pretty(report)?.as_bytes())?;
        Ok(path)
    }

    /// Removes the report of a cell that has been finished since.
    ///
    /// # Errors
    /// The file system's.
    pub fn clear_failed(&self, id: &str) -> Result<()> {
        let path = self.failed_path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Appends a line to `log.jsonl`.
    ///
    /// # Errors
    /// The file system's.
    pub fn log(&self, line: &serde_json::Value) -> Result<()> {
        let path = self.path("log.jsonl");
        let append = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            writeln!(file, "{line}")
        };
        append().with_context(|| format!("cannot append to {}", path.display()))
    }

    /// All finished cells, by id.
    ///
    /// # Errors
    /// Names a cell file that cannot be read or is of another version.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        self.cell_paths()?.iter().map(|path| read_cell(path)).collect()
    }

    /// The finished cells that can be read, by id, and what is wrong with the others.
    ///
    /// # Errors
    /// A folder that holds no run.
    pub fn readable_cells(&self) -> Result<(Vec<Cell>, Vec<String>)> {
        let (mut whole, mut problems) = (Vec::new(), Vec::new());
        for path in self.cell_paths()? {
            match read_cell(&path) {
                Ok(cell) => whole.push(cell),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        Ok((whole, problems))
    }

    fn cell_paths(&self) -> Result<Vec<PathBuf>> {
        let folder = self.path("cells");
        let entries =
            fs::read_dir(&folder).with_context(|| format!("{} is not a run directory", self.root.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths)
    }
}

fn read_cell(path: &Path) -> Result<Cell> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cell: Cell = serde_json::from_str(&text).with_context(|| {
        format!("{} is damaged\nhint: remove it and run again, the cell is then done anew", path.display())
    })?;
    if cell.schema != SCHEMA {
        bail!("{}: cell format {}, this program reads {SCHEMA}", path.display(), cell.schema);
    }
    Ok(cell)
}
