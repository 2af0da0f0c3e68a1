//! Names of the files and folders of a run, relative to its folder.

use std::path::{Path, PathBuf};

/// Resolved configuration and provenance.
pub const MANIFEST: &str = "manifest.json";

/// Folder of the finished cells.
pub const CELLS: &str = "cells";

/// Checksum of every finished cell, one JSON object per line.
pub const CELLS_LOG: &str = "cells.log";

/// Folder of cells that were set aside because they are not what the run wrote.
pub const DAMAGED: &str = "damaged";

/// Folder of the reports of failed cells.
pub const FAILED: &str = "failed";

/// Folder of the checkpoints, one folder per training.
pub const CHECKPOINTS: &str = "checkpoints";

/// Folder of the parts that several launches of the run in `out` share, beside it: one run folder per method
/// and seed.
pub fn shared_parts(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".shared");
    name.into()
}

/// The number type of all parts of the run in `out`.
pub fn shared_precision(out: &Path) -> PathBuf {
    shared_parts(out).join("precision.json")
}

/// Folder of the events for TensorBoard, one folder per training.
pub const EVENTS: &str = "tensorboard";

/// Folder of the data sets that were rendered for the run.
pub const DATA: &str = "data";

/// Folder of the pictures.
pub const FIGURES: &str = "figures";

/// Folder of the tables.
pub const TABLES: &str = "tables";

/// All values, one per row.
pub const METRICS: &str = "metrics.csv";

/// What the report needs besides the cells.
pub const REPORT: &str = "report.json";

/// The report as one page.
pub const PAGE: &str = "report.html";

/// Hashes of the files of external rows.
pub const ROW_FILES: &str = "rows.json";

/// The process that is using the folder.
pub const LOCK: &str = "running.json";

/// There while ranks tell each other that one of them was asked to stop.
pub const STOP: &str = "stop-requested";

/// Beginning of the name of the folder whose files say which cells ranks have taken.
pub const TAKEN: &str = "taken-";

/// Seconds of each phase; the last file that a run writes.
pub const TIMING: &str = "timing.json";

/// Log, one JSON object per line.
pub const LOG: &str = "log.jsonl";

/// What a run writes anew while it goes on.
pub const REPLACED: [&str; 11] =
    [MANIFEST, CELLS, CELLS_LOG, FAILED, FIGURES, TABLES, METRICS, REPORT, PAGE, ROW_FILES, TIMING];

/// File of a finished cell.
pub fn cell(id: &str) -> PathBuf {
    Path::new(CELLS).join(format!("{id}.json"))
}

/// Report of a failed cell.
pub fn failed_cell(id: &str) -> PathBuf {
    Path::new(FAILED).join(format!("{id}.json"))
}

/// Folder of the checkpoints of the training called `training`.
pub fn checkpoints(training: &str) -> PathBuf {
    Path::new(CHECKPOINTS).join(training)
}

/// Folder of the events of the training called `training`.
pub fn events(training: &str) -> PathBuf {
    Path::new(EVENTS).join(training)
}

/// Pack of a rendered data set.
pub fn rendered(data_set: &str) -> PathBuf {
    Path::new(DATA).join(format!("{data_set}.h5"))
}

/// A picture.
pub fn figure(name: &str) -> PathBuf {
    Path::new(FIGURES).join(format!("{name}.png"))
}

/// The main table of a section alone, of the data set with this key if the run has several.
pub fn headline(section: &str, data_set: Option<&str>, extension: &str) -> PathBuf {
    let section = Some(section).filter(|section| *section != "main");
    let name: Vec<&str> = std::iter::once("headline").chain(section).chain(data_set).collect();
    Path::new(TABLES).join(format!("{}.{extension}", name.join("-")))
}

/// The readings of the X-ray with this cell id.
pub fn xray_table(id: &str) -> PathBuf {
    Path::new(TABLES).join(format!("{id}.csv"))
}

/// A table in one of its formats.
pub fn table(name: &str, extension: &str) -> PathBuf {
    Path::new(TABLES).join(format!("table-{name}.{extension}"))
}
