//! What a run found, for readers: tables in the paper's form, figures, and every value as CSV.
//!
//! All of it derives from the finished cells and a [`ReportContext`], so that half a run and a copied one can be reported too.
//!
//! - [`write`]: everything, as files of the run;
//! - [`render`]: the tables, as text.

mod csv;
mod curves;
mod differences;
#[cfg(test)]
mod fixture;
mod markdown;
mod paper;
mod plot;
mod reconstruction;
mod sanity;
mod scores;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod values;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::store::{Cell, Store, write_atomic};
use table::{Note, Section, Table};
use values::Values;

/// What the cells do not say: which rows and columns belong into the tables, in which order, and how to call them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportContext {
    /// Name of the suite.
    pub suite: String,
    /// Heading of the report.
    pub title: String,
    /// Whether the run is as large as the paper's.
    pub scale: Scale,
    /// The paper's table that the suite mirrors, if any.
    pub table: Option<u8>,
    /// Columns, in order; `classification` is measured in top-1, everything else in R2.
    pub tasks: Vec<String>,
    /// Rows, in order; `Random init` is the floor and `Direct regression` the ceiling.
    pub methods: Vec<String>,
    /// Lines below the title: what is reduced against the paper, say.
    pub notes: Vec<String>,
}

/// Size of a run against the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The paper's sizes and budget.
    Full,
    /// Anything smaller.
    Reduced,
}

/// How tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Boxes, for a terminal.
    Terminal,
    /// GitHub's Markdown.
    Markdown,
    /// One entry a row: `section,row,column,value,std,ci95_low,ci95_high,n,text`.
    Csv,
}

/// Writes `metrics.csv`, `tables/table-<N>.md` and `.csv` (N: the paper's table that the suite mirrors, else `main`),
/// `figures/training-curves.png`, and `figures/probe-curve.png` where encoders were probed during their training.
///
/// # Errors
/// Without a finished cell, and the file system's errors.
pub fn write(store: &Store, context: &ReportContext) -> Result<()> {
    let cells = store.cells()?;
    let name = context.table.map_or("main".to_owned(), |number| number.to_string());
    for (format, extension) in [(Format::Markdown, "md"), (Format::Csv, "csv")] {
        let text = render(&cells, context, format)?;
        write_atomic(&store.path(format!("tables/table-{name}.{extension}")), text.as_bytes())?;
    }
    write_atomic(&store.path("metrics.csv"), csv::metrics(&cells)?.as_bytes())?;
    let figures =
        [("training-curves", curves::training(&cells, context)?), ("probe-curve", curves::probes(&cells, context)?)];
    for (name, png) in figures {
        if let Some(png) = png {
            write_atomic(&store.path(format!("figures/{name}.png")), &png)?;
        }
    }
    Ok(())
}

/// The tables, as [`write`] writes them.
///
/// # Errors
/// Without a finished cell.
pub fn render(cells: &[Cell], context: &ReportContext, format: Format) -> Result<String> {
    if cells.is_empty() {
        bail!("suite {}: no finished cell, nothing to report\nhint: `eqr-bench run` does the work", context.suite);
    }
    let tables = tables(&Values::of(cells), context)?;
    match format {
        Format::Csv => csv::tables(&tables),
        Format::Markdown => Ok(markdown::document(context, &tables)),
        Format::Terminal => Ok(terminal::document(context, &tables)),
    }
}

/// The main table in any case, the others where they hold values.
fn tables(values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let sanity = sanity::table(values, context);
    let mut main = scores::table(values, context, Section::Main);
    main.notes.extend(warnings(values, &sanity));
    let mut others: Vec<Table> = vec![
        differences::table(values, context),
        scores::table(values, context, Section::Grid),
        scores::table(values, context, Section::Combined),
        scores::table(values, context, Section::Pooled),
        reconstruction::table(values, context),
        sanity,
    ];
    others.retain(Table::has_values);
    let paper = context.table.map(|number| paper::table(values, context, number)).transpose()?;
    Ok(std::iter::once(main).chain(others).chain(paper).collect())
}

/// What the main table has to say about the rest.
fn warnings(values: &Values, sanity: &Table) -> Vec<Note> {
    let mut warnings: Vec<Note> =
        sanity.notes.iter().filter(|note| matches!(note, Note::Warning(_))).cloned().collect();
    if !sanity.has_values() && !sanity.columns.is_empty() {
        warnings.push(Note::Plain(
            "Probes on shuffled targets, the sanity check of the R2 columns, are not measured.".to_owned(),
        ));
    }
    if values.not_finite() > 0 {
        warnings.push(Note::Warning(format!("{} values are NaN or infinite and are left out.", values.not_finite())));
    }
    warnings
}
