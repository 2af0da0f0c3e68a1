//! The trait of report formats, and what a format is given.

use anyhow::Result;

use crate::console::Look;
use crate::report::claims::JudgedClaim;
use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::numbers::Numbers;
use crate::report::table::Table;
use crate::report::xray::of_run::RowXray;
use crate::run_folder::folder::RunFolder;

/// A format that a report is written in.
pub trait Format: Sync {
    /// Name of the format in `report --format`.
    fn name(&self) -> &'static str;

    /// The file that `run` writes in this format into the run's folder, if any.
    fn output_file(&self) -> Option<OutputFile> {
        None
    }

    /// The report as text.
    ///
    /// # Errors
    /// Those of the format's writer.
    fn render(&self, document: &Document) -> Result<String>;
}

/// Files that a format is written to.
pub enum OutputFile {
    /// One file per data set: `tables/table-<name>` with this extension.
    Tables(&'static str),
    /// One file per main table: `tables/headline-<section>` with this extension.
    Headlines(&'static str),
    /// One file with this name for all data sets.
    Page(&'static str),
}

/// Everything that a format can show.
pub struct Document<'a> {
    /// Data sets in the order of the suite.
    pub data_sets: Vec<DataSetReport<'a>>,
    /// The run, for pictures and provenance.
    pub folder: &'a RunFolder,
    /// What is wrong with the run.
    pub problems: &'a [String],
    /// How numbers are written.
    pub numbers: Numbers,
    /// How text looks where it is printed, for the format of terminals.
    pub look: Look,
}

/// A data set in a report.
pub struct DataSetReport<'a> {
    /// What the cells do not record.
    pub context: &'a ReportContext,
    /// Tables in order.
    pub tables: Vec<Table>,
    /// The claims with their verdicts.
    pub claims: Vec<JudgedClaim>,
    /// The headline of every task.
    pub headlines: Vec<Column>,
    /// What the reconstructions use, one sentence a method.
    pub reconstructions: Vec<String>,
    /// The X-rays, row by row.
    pub xrays: Vec<RowXray<'a>>,
}

impl Document<'_> {
    /// The data sets one after the other, each formatted by `text`.
    pub fn joined(&self, text: impl FnMut(&DataSetReport) -> String) -> String {
        self.data_sets.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}
