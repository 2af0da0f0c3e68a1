//! What a run found, for readers: tables in the paper's form, figures, and every value as CSV.
//!
//! All of it derives from the finished cells and a [`ReportContext`], so that an unfinished run and a copied one can be
//! reported too. [`write`] writes everything as files of the run, [`Report::render`] makes one text.

pub mod compare;
pub mod formats;

mod column;
mod context;
mod figures;
mod legend;
mod metrics_csv;
mod sections;
mod table;
mod values;

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests;

use anyhow::{Result, bail};
pub use context::{ReportContext, TransferColumn, stored_contexts, write_contexts};
use formats::{Document, FORMATS, Format, OutputFile};
pub use sections::choices;
use values::Values;

use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::Cell;
use crate::run_folder::store::RunFolder;

/// What is reported.
pub struct Report<'a> {
    /// The run, for what formats show beside the tables.
    pub folder: &'a RunFolder,
    /// Its finished cells.
    pub cells: &'a [Cell],
    /// The data sets that are reported.
    pub contexts: &'a [&'a ReportContext],
    /// Only the tables that mirror this table of the paper: all of a suite that mirrors it as a whole, else those of
    /// transfer or segmentation alone.
    pub table: Option<u8>,
    /// What is wrong with the run, such as damaged cells.
    pub problems: &'a [String],
}

impl Report<'_> {
    /// The report as a text.
    ///
    /// # Errors
    /// Without a finished cell; where none of the tables that are asked for has a value.
    pub fn render(&self, format: &dyn Format) -> Result<String> {
        if let ([], Some(context)) = (self.cells, self.contexts.first()) {
            bail!("suite {}: no finished cell, nothing to report\nhint: `eqr-bench run` does the work", context.suite);
        }
        let data_set = |context: &&'_ ReportContext| -> Result<formats::DataSetReport> {
            let values = Values::of(&cells_of(self.cells, context));
            let tables = match self.table {
                Some(number) => sections::mirroring(number, &values, context)?,
                None => sections::all(&values, context),
            };
            let headlines = sections::scores::headline_columns(&values, context);
            Ok(formats::DataSetReport { context, tables, headlines })
        };
        let data_sets = self.contexts.iter().map(data_set).collect::<Result<Vec<_>>>()?;
        format.render(&Document { data_sets, folder: self.folder, problems: self.problems })
    }
}

/// Writes `metrics.csv`, the files of every format, and for every data set `figures/training-curves.png`, and
/// `figures/probe-curve.png` where encoders were probed during their training.
///
/// # Errors
/// Without a finished cell, and the file system's errors.
pub fn write(folder: &RunFolder, contexts: &[ReportContext]) -> Result<()> {
    let cells = folder.cells()?;
    for context in contexts {
        let key = context.part.as_ref().map(|key| format!("-{key}")).unwrap_or_default();
        for (name, png) in figures::all(&cells_of(&cells, context), context)? {
            write_atomic(&folder.path(format!("figures/{name}{key}.png")), &png)?;
        }
    }
    write_atomic(&folder.path("metrics.csv"), metrics_csv::metrics(&cells)?.as_bytes())?;
    let report = |contexts, cells, format: &dyn Format| {
        Report { folder, cells, contexts, table: None, problems: &[] }.render(format)
    };
    for format in FORMATS {
        match format.output_file() {
            Some(OutputFile::Tables(extension)) => {
                for context in contexts {
                    let cells = cells_of(&cells, context);
                    // a data set whose trainings all diverged has no table; the others have
                    if !cells.is_empty() || contexts.len() == 1 {
                        let path = format!("tables/table-{}.{extension}", table_name(context, contexts));
                        write_atomic(&folder.path(path), report(&[context], &cells, *format)?.as_bytes())?;
                    }
                }
            }
            Some(OutputFile::Page(name)) => {
                let contexts: Vec<&ReportContext> = contexts.iter().collect();
                write_atomic(&folder.path(name), report(&contexts, &cells, *format)?.as_bytes())?;
            }
            None => {}
        }
    }
    Ok(())
}

/// The number of the paper's table, where no other data set of the suite mirrors the same, and else the data set's key.
fn table_name(context: &ReportContext, all: &[ReportContext]) -> String {
    let alone = |number: &u8| all.iter().filter(|other| other.table == Some(*number)).count() == 1;
    match (context.table, &context.part) {
        (Some(number), None) => number.to_string(),
        (Some(number), Some(_)) if alone(&number) => number.to_string(),
        (Some(number), Some(key)) => format!("{number}-{key}"),
        (None, Some(key)) => key.clone(),
        (None, None) => "main".to_owned(),
    }
}

fn cells_of(cells: &[Cell], context: &ReportContext) -> Vec<Cell> {
    cells.iter().filter(|cell| cell.part == context.part).cloned().collect()
}
