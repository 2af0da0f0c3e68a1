//! What a format is, and what it is given.

use anyhow::Result;

use crate::report::column::Column;
use crate::report::context::ReportContext;
use crate::report::table::Table;
use crate::run_folder::folder::RunFolder;

/// A form that a report is written in.
pub trait Format: Sync {
    /// Value of `report --format`.
    fn name(&self) -> &'static str;

    /// What `run` writes in this format into the run's folder, if anything.
    fn output_file(&self) -> Option<OutputFile> {
        None
    }

    /// The report as a text.
    ///
    /// # Errors
    /// What the writer of the format refuses.
    fn render(&self, document: &Document) -> Result<String>;
}

/// Files that a format is written to.
pub enum OutputFile {
    /// One a data set, `tables/table-<name>` with this extension.
    Tables(&'static str),
    /// One for all data sets, under this name.
    Page(&'static str),
}

/// Everything that a format may show.
pub struct Document<'a> {
    /// In the order of the suite.
    pub data_sets: Vec<DataSetReport<'a>>,
    /// The run, for pictures and provenance.
    pub folder: &'a RunFolder,
    /// What is wrong with the run.
    pub problems: &'a [String],
}

/// A data set in a report.
pub struct DataSetReport<'a> {
    /// What the cells do not say.
    pub context: &'a ReportContext,
    /// In order.
    pub tables: Vec<Table>,
    /// The headline of every task.
    pub headlines: Vec<Column>,
}

impl Document<'_> {
    /// The data sets one after the other, each as `text` writes it.
    pub fn joined(&self, text: fn(&DataSetReport) -> String) -> String {
        self.data_sets.iter().map(text).collect::<Vec<_>>().join("\n")
    }
}
