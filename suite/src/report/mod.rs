//! What a run found, for readers: tables in the paper's form, figures, and every value as CSV.
//!
//! All of it derives from the finished cells and a [`ReportContext`], so that half a run and a copied one can be reported too.
//!
//! - [`write`]: everything, as files of the run;
//! - [`render`] and [`render_table`]: the tables, as text.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use column::Column;
pub use protocol::choices;
use serde::{Deserialize, Serialize};
use table::{Note, Section, Table};
use values::Values;

const UNDEFINED: &str = "undefined_outputs";
use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::cell::Cell;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::layout;
use crate::suite_file::scale::Scale;

mod column;
pub mod compare;

mod csv;

mod curves;

mod differences;

mod downstream;

#[cfg(test)]
mod fixture;

mod geometry;

#[cfg(test)]
mod golden;

mod html;

mod latex;

mod leaves;

mod markdown;

mod paper;

mod plot;

mod protocol;

mod reconstruction;

mod retrieval;

mod sanity;

mod scores;

mod table;

mod terminal;

#[cfg(test)]
mod tests;

mod values;

mod variance;

/// What the cells do not say: which rows and columns belong into the tables, in which order, and how to call them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportContext {
    /// Key of the data set, where the suite has several: only its cells are reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
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
    /// Other data sets that are classified, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<TransferColumn>,
    /// Other data sets that are segmented, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentations: Vec<String>,
    /// Lines below the title: what is reduced against the paper, say.
    pub notes: Vec<String>,
    /// Every choice behind the numbers; runs of earlier versions do not say them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<protocol::Choice>,
}

/// A column of the table of linear transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferColumn {
    /// The data set.
    pub dataset: String,
    /// Its headline: `top1` or `mean_per_class`.
    pub metric: String,
}

impl ReportContext {
    /// Numbers of the paper's tables that the suite mirrors.
    pub fn mirrored(&self) -> BTreeSet<u8> {
        let transfer = (!self.transfers.is_empty()).then_some(paper::TRANSFER_TABLE);
        let segmentation = (!self.segmentations.is_empty()).then_some(paper::SEGMENTATION_TABLE);
        self.table.into_iter().chain(transfer).chain(segmentation).collect()
    }
}

/// How tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Boxes, for a terminal.
    Terminal,
    /// GitHub's Markdown.
    Markdown,
    /// A LaTeX document with booktabs.
    Latex,
    /// One entry a row: `section,row,column,value,std,ci95_low,ci95_high,n,text,values`, the values being those of the pretraining seeds.
    Csv,
}

const CONTEXTS: &str = "report.json";

/// Writes down what a report of the run needs beside its cells, one context a data set.
///
/// # Errors
/// The file system's.
pub fn write_contexts(store: &RunFolder, contexts: &[ReportContext]) -> Result<()> {
    write_atomic(&store.path(CONTEXTS), serde_json::to_string_pretty(contexts)?.as_bytes())
}

/// Reads the contexts of a finished or half-finished run.
///
/// # Errors
/// A folder that holds no run, or one of another version.
pub fn stored_contexts(store: &RunFolder) -> Result<Vec<ReportContext>> {
    let path = store.path(CONTEXTS);
    if !path.exists() {
        bail!(
            "{} holds no run: {CONTEXTS} is missing\nhint: `eqr-bench run` writes it",
            store.root().display()
        );
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{} is damaged or of another version\nhint: `eqr-bench run` writes it anew", path.display())
    })
}

/// Writes `metrics.csv`, `report.html`, and for every data set `tables/table-<name>.md`, `.csv` and `.tex`, `figures/training-curves.png`, and
/// `figures/probe-curve.png` where encoders were probed during their training.
///
/// # Errors
/// Without a finished cell, and the file system's errors.
pub fn write(store: &RunFolder, contexts: &[ReportContext]) -> Result<()> {
    let cells = store.cells()?;
    for context in contexts {
        let own = cells_of(&cells, context);
        for (format, extension) in [(Format::Markdown, "md"), (Format::Csv, "csv"), (Format::Latex, "tex")] {
            // a data set whose trainings all diverged has no table; the others have
            if !own.is_empty() || contexts.len() == 1 {
                let text = render(&own, &[context], format)?;
                let path = format!("tables/table-{}.{extension}", table_name(context, contexts));
                write_atomic(&store.path(path), text.as_bytes())?;
            }
        }
        let set = context.part.as_ref().map(|key| format!("-{key}")).unwrap_or_default();
        let figures = [
            ("training-curves", curves::training(&own, context)?),
            ("probe-curve", curves::probes(&own, context)?),
        ];
        for (name, png) in figures {
            if let Some(png) = png {
                write_atomic(&store.path(layout::figure(&format!("{name}{set}"))), &png)?;
            }
        }
    }
    write_atomic(&store.path(layout::METRICS), csv::metrics(&cells)?.as_bytes())?;
    let contexts: Vec<&ReportContext> = contexts.iter().collect();
    write_atomic(&store.path(layout::PAGE), page(store, &cells, &contexts, None, &[])?.as_bytes())
}

/// The report of these data sets as one HTML page, with the run's figures and provenance where they are there; `number` as in
/// [`render_table`]. `problems` stand at its head.
///
/// # Errors
/// Without a finished cell.
pub fn page(
    store: &RunFolder,
    cells: &[Cell],
    contexts: &[&ReportContext],
    number: Option<u8>,
    problems: &[String],
) -> Result<String> {
    ensure_cells(cells, contexts)?;
    let part = |context| {
        let values = Values::of(&cells_of(cells, context));
        let tables =
            number.map_or_else(|| tables(&values, context), |number| mirroring(&values, context, number))?;
        Ok(html::Part { context, tables, columns: scores::columns(&values, context, Section::Main) })
    };
    let parts = contexts.iter().copied().map(part).collect::<Result<Vec<html::Part>>>()?;
    Ok(html::page(&parts, &assets(store, problems)))
}

/// What a page shows beside the tables; a copied run may lack any of it.
fn assets(store: &RunFolder, problems: &[String]) -> html::Assets {
    let manifest = std::fs::read_to_string(store.path(layout::MANIFEST)).ok();
    let names = |folder: &str| {
        let entries = std::fs::read_dir(store.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let figures = names("figures").into_iter().filter(|name| name.ends_with(".png"));
    let figures = figures
        .filter_map(|name| Some((name.clone(), std::fs::read(store.path(layout::FIGURES).join(name)).ok()?)));
    let failed = names("failed")
        .into_iter()
        .map(|name| format!("{} has failed: see failed/{name}.", name.trim_end_matches(".json")));
    html::Assets {
        manifest: manifest.and_then(|text| serde_json::from_str(&text).ok()),
        figures: figures.collect(),
        problems: problems.iter().cloned().chain(failed).collect(),
    }
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
    cells.iter().filter(|cell| cell.data_set == context.part).cloned().collect()
}

/// The tables of these data sets one after the other, as [`write`] writes them; in CSV under one header.
///
/// # Errors
/// Without a finished cell.
pub fn render(cells: &[Cell], contexts: &[&ReportContext], format: Format) -> Result<String> {
    rendered(cells, contexts, format, tables)
}

/// Of these data sets what mirrors the paper's table `number`: all tables of a suite that mirrors it as a whole, else those of transfer or
/// segmentation alone.
///
/// # Errors
/// Without a finished cell.
pub fn render_table(
    cells: &[Cell],
    contexts: &[&ReportContext],
    number: u8,
    format: Format,
) -> Result<String> {
    rendered(cells, contexts, format, |values, context| mirroring(values, context, number))
}

/// The tables of a data set that mirror the paper's table `number`.
///
/// # Errors
/// Where none of them has a value of this run.
fn mirroring(values: &Values, context: &ReportContext, number: u8) -> Result<Vec<Table>> {
    let tables = match number {
        _ if context.table == Some(number) => tables(values, context)?,
        paper::TRANSFER_TABLE => transfer_tables(values, context)?,
        paper::SEGMENTATION_TABLE => segmentation_tables(values, context)?,
        _ => vec![],
    };
    if !measured(&tables) {
        bail!(
            "suite {}: Table {number} has no finished cell yet\nhint: `eqr-bench run` does what is missing",
            context.suite
        );
    }
    Ok(tables)
}

fn ensure_cells(cells: &[Cell], contexts: &[&ReportContext]) -> Result<()> {
    if let ([], Some(context)) = (cells, contexts.first()) {
        bail!(
            "suite {}: no finished cell, nothing to report\nhint: `eqr-bench run` does the work",
            context.suite
        );
    }
    Ok(())
}

fn rendered(
    cells: &[Cell],
    contexts: &[&ReportContext],
    format: Format,
    tables: impl Fn(&Values, &ReportContext) -> Result<Vec<Table>>,
) -> Result<String> {
    ensure_cells(cells, contexts)?;
    let tables = contexts
        .iter()
        .map(|context| Ok((*context, tables(&Values::of(&cells_of(cells, context)), context)?)))
        .collect::<Result<Vec<_>>>()?;
    let documents = |document: fn(&ReportContext, &[Table]) -> String| {
        tables.iter().map(|(context, tables)| document(context, tables)).collect::<Vec<_>>().join("\n")
    };
    match format {
        Format::Csv => csv::tables(&tables),
        Format::Markdown => Ok(documents(markdown::document)),
        Format::Latex => Ok(latex::document(&tables)),
        Format::Terminal => Ok(documents(terminal::document)),
    }
}

/// What the encoders read of their own data, then of others.
fn tables(values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let mut own = own_tables(values, context)?;
    let elsewhere = [transfer_tables(values, context)?, segmentation_tables(values, context)?].concat();
    // a suite may transfer its encoders and probe nothing: what it is about stands first
    let groups = if own[0].has_values() || !measured(&elsewhere) {
        [own, elsewhere]
    } else {
        own.remove(0);
        [elsewhere, own]
    };
    let protocol = Some(protocol::table(context)).filter(Table::has_values);
    Ok(groups.concat().into_iter().chain(protocol).collect())
}

/// The main table in any case, the others where they hold values.
fn own_tables(values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let sanity = sanity::table(values, context);
    let mut main = scores::table(values, context, Section::Main);
    main.notes.extend(warnings(values, context, &sanity));
    let headline = scores::columns(values, context, Section::Main);
    let mut others = vec![
        differences::table("Differences between methods, headline metric", &headline),
        variance::table(&headlines(values, context)),
    ];
    let readouts = [
        Section::Grid,
        Section::Inv,
        Section::Equi,
        Section::Linear,
        Section::Canonical,
        Section::Combined,
        Section::Pooled,
    ];
    others.extend(readouts.map(|section| scores::table(values, context, section)));
    others.extend(retrieval::tables(values, context));
    others.extend([geometry::table(values, context), reconstruction::table(values, context), sanity]);
    let own =
        context.table.filter(|number| ![paper::TRANSFER_TABLE, paper::SEGMENTATION_TABLE].contains(number));
    let paper = own.map(|number| paper::table(values, context, number)).transpose()?;
    others.retain(Table::has_values);
    Ok(std::iter::once(main).chain(others).chain(paper).collect())
}

/// Whether a table holds a value of this run.
fn measured(tables: &[Table]) -> bool {
    let own = |table: &&Table| ![Section::Paper, Section::Protocol].contains(&table.section);
    tables.iter().filter(own).any(Table::has_values)
}

/// Every headline that is a mean over probe or head seeds.
fn headlines(values: &Values, context: &ReportContext) -> Vec<Column> {
    let mut columns = scores::columns(values, context, Section::Main);
    columns.extend(downstream::segmentation_columns(values, context));
    columns
}

fn transfer_tables(values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let mut tables = downstream::transfer_tables(values, context);
    tables.push(paper::table(values, context, paper::TRANSFER_TABLE)?);
    tables.retain(Table::has_values);
    Ok(tables)
}

fn segmentation_tables(values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let mut tables = downstream::segmentation_tables(values, context);
    tables.push(paper::table(values, context, paper::SEGMENTATION_TABLE)?);
    tables.retain(Table::has_values);
    Ok(tables)
}

/// Which R2 are not missing but undefined.
fn undefined(values: &Values, context: &ReportContext) -> Vec<Note> {
    let of = |task: &String| {
        let methods =
            context.methods.iter().filter(|method| values.summary(method, task, UNDEFINED).is_some());
        let methods = methods.map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = || {
            format!(
                "R2 of {task} is undefined for {methods}: an output of the target does not vary on the test split."
            )
        };
        (!methods.is_empty()).then(|| Note::Warning(text()))
    };
    context.tasks.iter().filter_map(of).collect()
}

/// What the main table has to say about the rest.
fn warnings(values: &Values, context: &ReportContext, sanity: &Table) -> Vec<Note> {
    let mut warnings: Vec<Note> =
        sanity.notes.iter().filter(|note| matches!(note, Note::Warning(_))).cloned().collect();
    if !sanity.has_values() && !sanity.columns.is_empty() {
        warnings.push(Note::Plain(
            "Probes on shuffled targets, the sanity check of the R2 columns, are not measured.".to_owned(),
        ));
    }
    warnings.extend(undefined(values, context));
    if values.not_finite() > 0 {
        warnings.push(Note::Warning(format!(
            "{} values are NaN or infinite and are left out.",
            values.not_finite()
        )));
    }
    warnings
}
