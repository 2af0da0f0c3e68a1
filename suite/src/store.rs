//! The run store: one folder a run, one immutable JSON file a finished cell. Tables derive from the cells alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// One measured value: a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Suite name.
    pub suite: String,
    /// Number of the paper's table that it belongs to, or `-`.
    pub table: String,
    /// Data set as it stands in the table.
    pub dataset: String,
    /// `classification`, `rotation`, `color`, ..., `reconstruction`, `retrieval`, `linear transfer` or `segmentation`.
    pub task: String,
    /// Row of the table.
    pub method: String,
    /// `r2_per_output`, `r2_pooled`, `top1`, ...; a readout other than y is appended as in `r2_per_output_grid`.
    pub metric: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Seed of the probe; none where nothing is drawn.
    pub eval_seed: Option<u64>,
    /// The value.
    pub value: f64,
    /// `R2`, `fraction`, `MSE`.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// The cell it comes from.
    pub cell: String,
}

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Larger is better.
    Higher,
    /// Smaller is better.
    Lower,
}

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Trains an encoder.
    Pretrain,
    /// Probes a frozen one.
    Probe,
    /// Transfers a frozen one to a set by logistic regression.
    Transfer,
    /// Trains a segmentation head on a frozen one.
    Segment,
}

/// A point of a training curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps taken.
    pub step: u64,
    /// Loss terms by name, means over the steps since the last point, with `loss` their sum.
    pub terms: BTreeMap<String, f64>,
    /// Norm of the gradient, mean over the same steps; absent in cells of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Format of this file.
    pub schema: u32,
    /// Unique in the run; also the file's name.
    pub id: String,
    /// What was done.
    pub kind: CellKind,
    /// Key of the data set, where the suite has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Row of the table.
    pub method: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Steps the probed encoder had been trained for (of a pretraining: steps in all).
    pub step: u64,
    /// Whether this is the end of the training; earlier probes only stand in the curve of R2 against steps.
    pub last: bool,
    /// Values, empty for a pretraining.
    pub metrics: Vec<Metric>,
    /// Training curve, empty for a probe.
    pub curve: Vec<CurvePoint>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Whether the work was interrupted and resumed: then `seconds` is no timing.
    pub resumed: bool,
    /// Whether the encoder is not this run's: its seeds do not pair with those of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
}

/// Version of [`Cell`]'s format.
pub const SCHEMA: u32 = 1;

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The run at `root`; nothing is touched.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Store { root: root.into() }
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

/// Writes to a temporary name in the same folder (made where absent), syncs, renames.
///
/// # Errors
/// The file system's, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().expect("a file has a folder");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = temporary(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A file that is not there yet: as readable as any other new file, where tempfile's default would shut out the group.
///
/// # Errors
/// The file system's.
pub fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}
