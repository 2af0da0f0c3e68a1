//! The results of a run for readers: tables in the paper's form, figures, and every value as CSV.
//!
//! Everything is derived from the finished cells and a [`ReportContext`], so that unfinished and copied runs
//! can be reported too. `write` writes everything as files of the run; [`Report::render`] returns one text.

pub mod claims;
pub mod compare;
pub mod formats;
pub mod history;

mod blocks;
mod column;
mod context;
mod cost_values;
mod curve_values;
mod figures;
mod legend;
mod mean;
mod metrics_csv;
mod numbers;
mod paper_tables;
mod planted_values;
mod quantity;
pub mod reading;
mod sections;
mod selection;
mod table;
mod values;
pub mod xray;

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Result, bail};
pub use context::{ReportContext, TransferColumn, join_contexts, stored_contexts, write_contexts};
pub use figures::calibration::calibration as calibration_figure;
use formats::{DataSetReport, Document, FORMATS, Format, OutputFile};
pub use formats::{heat_cell, page_shell};
pub use metrics_csv::csv_text;
pub use numbers::{Numbers, Spread};
pub use sections::{choices, names_of_sections};
use table::Table;
pub use values::Values;
use xray::of_run::RowXray;

use crate::console::{Look, print_coloured, print_text, visible, with_progress};
use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;

/// Which tables are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The claims, and the main table of the probes, of transfer and of segmentation.
    Headline,
    /// The main tables of the headline alone, without their notes.
    Scores,
    /// All.
    All,
    /// Those that mirror this table of the paper: all tables of a suite that mirrors it as a whole, else only
    /// those of transfer or segmentation.
    Mirroring(u8),
    /// Those of one section.
    Section(&'static str),
}

/// What to report.
pub struct Report<'a> {
    /// The run, for formats that show more than the tables.
    pub folder: &'a RunFolder,
    /// Its finished cells.
    pub cells: &'a [Cell],
    /// The data sets that are reported.
    pub contexts: &'a [&'a ReportContext],
    /// Which tables are reported.
    pub scope: Scope,
    /// Names of the only columns that are reported; all if there is none.
    pub columns: &'a [String],
    /// Problems of the run, such as damaged cells.
    pub problems: &'a [String],
    /// How numbers are written.
    pub numbers: Numbers,
    /// How text looks where it is printed. Only the format of terminals heeds it.
    pub look: Look,
}

impl<'a> Report<'a> {
    /// All tables of these data sets, for a run without problems.
    pub fn new(folder: &'a RunFolder, cells: &'a [Cell], contexts: &'a [&'a ReportContext]) -> Self {
        Report {
            folder,
            cells,
            contexts,
            scope: Scope::All,
            columns: &[],
            problems: &[],
            numbers: Numbers::default(),
            look: Look::default(),
        }
    }

    /// The report as text, in which control characters of names and notes stand as numbers. Those of colours
    /// remain, if its look has colours.
    ///
    /// # Errors
    /// No finished cell; none of the requested tables has a value; a column that no table has.
    pub fn render(&self, format: &dyn Format) -> Result<String> {
        if let ([], Some(context)) = (self.cells, self.contexts.first()) {
            bail!(
                "suite {}: no finished cell, nothing to report\nhint: `eqr-bench run` does the work",
                context.suite
            );
        }
        let mut data_sets =
            self.contexts.iter().map(|context| self.data_set(context)).collect::<Result<Vec<_>>>()?;
        let has_tables = data_sets.iter().any(|data_set| !data_set.tables.is_empty());
        if let (Scope::Scores, false, Some(context)) = (self.scope, has_tables, self.contexts.first()) {
            bail!(
                "suite {}: no main table has a value yet\nhint: `eqr-bench run` does what is missing",
                context.suite
            );
        }
        if let Scope::Section(name) = self.scope {
            sections::keep_section(&mut data_sets, name)?;
        }
        if !self.columns.is_empty() {
            selection::keep_columns(&mut data_sets, self.columns)?;
        }
        let Report { folder, problems, numbers, look, .. } = *self;
        let text = format.render(&Document { data_sets, folder, problems, numbers, look })?;
        Ok(if self.has_colours(format) { text } else { visible(&text).into_owned() })
    }

    /// Prints the report to stdout.
    ///
    /// # Errors
    /// As [`Report::render`]; an error when writing.
    pub fn print(&self, format: &dyn Format) -> Result<()> {
        let text = self.render(format)?;
        if self.has_colours(format) { print_coloured(&text) } else { print_text(&text) }
    }

    fn has_colours(&self, format: &dyn Format) -> bool {
        self.look.colours && format.name() == formats::TERMINAL.name()
    }

    fn data_set(&self, context: &'a ReportContext) -> Result<DataSetReport<'a>> {
        let values = Values::at_end(&cells_of(self.cells, context));
        let (mut tables, only) = match self.scope {
            Scope::Headline => (sections::headline(&values, context), None),
            Scope::Scores => (sections::scores_alone(&values, context), None),
            Scope::All | Scope::Section(_) => (sections::all(&values, context), None),
            Scope::Mirroring(number) => {
                let tables = sections::mirroring(number, &values, context)?;
                (tables, Some(number).filter(|number| context.table != Some(*number)))
            }
        };
        if self.numbers.percent {
            tables.iter_mut().for_each(Table::say_percent);
        }
        let mut claims = claims::judge(&values, context);
        claims.retain(|judged| only.is_none() || judged.claim.table == only);
        let headlines = sections::scores::headline_columns(&values, context);
        let reconstructions = sections::reconstruction::sentences(&values, context);
        let is_own = |row: &RowXray| row.part == context.part.as_deref();
        let mut xrays = RowXray::all(self.cells);
        xrays.retain(is_own);
        Ok(DataSetReport { context, tables, claims, headlines, reconstructions, xrays })
    }
}

/// The main tables of an unfinished run, without the notes of its suite; `None` before the first value.
pub fn scores_so_far(
    folder: &RunFolder,
    cells: &[Cell],
    contexts: &[ReportContext],
    look: Look,
) -> Option<String> {
    let without_notes: Vec<ReportContext> =
        contexts.iter().map(|context| ReportContext { notes: vec![], ..context.clone() }).collect();
    let contexts: Vec<&ReportContext> = without_notes.iter().collect();
    let report = Report { scope: Scope::Scores, look, ..Report::new(folder, cells, &contexts) };
    // without a value there is no table
    report.render(formats::TERMINAL).ok()
}

/// What to say below a headline.
pub fn where_all_is(folder: &RunFolder) -> String {
    let (root, page) = (folder.root(), folder.path(layout::PAGE));
    let as_page = if page.exists() { format!(", or as a page: {}", page.display()) } else { String::new() };
    format!("all tables: eqr-bench report {} --full{as_page}", root.display())
}

/// A file of a run: its name in the folder, and its content.
pub type RunFile = (PathBuf, Vec<u8>);

/// Writes every file of the report of all finished cells.
///
/// # Errors
/// No finished cell; files that cannot be written.
pub fn write(folder: &RunFolder, cells: &[Cell], contexts: &[ReportContext]) -> Result<()> {
    let write = |files: Vec<RunFile>| {
        files.iter().try_for_each(|(name, bytes)| write_atomic(&folder.path(name), bytes))
    };
    with_progress("writing the report", |_| {
        // the page shows the figures
        write(figures(cells, contexts)?)?;
        write(documents(folder, cells, contexts)?)
    })
}

/// The files of a report: figures, `metrics.csv`, and the files of every format. They depend on the run's
/// cells, contexts, manifest and pictures alone.
///
/// # Errors
/// No finished cell; a cell with a problem.
pub fn files(folder: &RunFolder, contexts: &[ReportContext]) -> Result<Vec<RunFile>> {
    let cells = folder.cells()?;
    Ok([figures(&cells, contexts)?, documents(folder, &cells, contexts)?].concat())
}

fn figures(cells: &[Cell], contexts: &[ReportContext]) -> Result<Vec<RunFile>> {
    let mut files = Vec::new();
    for context in contexts {
        let key = context.part.as_ref().map(|key| format!("-{key}")).unwrap_or_default();
        let figures = figures::all(&cells_of(cells, context), context)?.into_iter();
        files.extend(figures.map(|(name, png)| (layout::figure(&format!("{name}{key}")), png)));
    }
    Ok(files)
}

fn documents(folder: &RunFolder, cells: &[Cell], contexts: &[ReportContext]) -> Result<Vec<RunFile>> {
    let mut files = vec![(PathBuf::from(layout::METRICS), metrics_csv::metrics(cells)?.into_bytes())];
    files.extend(xray::of_run::files(cells)?);
    for format in FORMATS {
        match format.output_file() {
            Some(OutputFile::Tables(extension)) => {
                for context in contexts {
                    let cells = cells_of(cells, context);
                    // a data set whose trainings all diverged has no table, but the others have
                    if !cells.is_empty() || contexts.len() == 1 {
                        let path = layout::table(&table_name(context, contexts), extension);
                        let text = Report::new(folder, &cells, &[context]).render(*format)?;
                        files.push((path, text.into_bytes()));
                    }
                }
            }
            Some(OutputFile::Headlines(extension)) => {
                for context in contexts {
                    let cells = cells_of(cells, context);
                    for table in sections::scores_alone(&Values::at_end(&cells), context) {
                        let path = layout::headline(table.section, context.part.as_deref(), extension);
                        let scope = Scope::Section(table.section);
                        let contexts = [context];
                        let report = Report { scope, ..Report::new(folder, &cells, &contexts) };
                        files.push((path, report.render(*format)?.into_bytes()));
                    }
                }
            }
            Some(OutputFile::Page(name)) => {
                let contexts: Vec<&ReportContext> = contexts.iter().collect();
                let text = Report::new(folder, cells, &contexts).render(*format)?;
                files.push((PathBuf::from(name), text.into_bytes()));
            }
            None => {}
        }
    }
    Ok(files)
}

/// The number of the paper's table if no other data set of the suite mirrors it, else the data set's key.
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

/// The cells of a data set.
pub fn cells_of(cells: &[Cell], context: &ReportContext) -> Vec<Cell> {
    cells.iter().filter(|cell| cell.data_set == context.part).cloned().collect()
}
