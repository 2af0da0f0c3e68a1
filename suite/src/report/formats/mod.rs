//! The report formats: one file and one line of [`FORMATS`] per format.

mod csv;
mod format;
mod html;
mod json;
mod latex;
mod markdown;
mod terminal;

pub use format::{DataSetReport, Document, Format, OutputFile};
pub use html::{heat_cell, page_shell};

/// Every format, in the order of `report --help`.
pub const FORMATS: &[&dyn Format] = &[
    &terminal::Terminal,
    &markdown::Markdown,
    &latex::Latex,
    &latex::Tabular,
    &csv::Csv,
    &html::Html,
    &json::Json,
];

/// The format with this name.
pub fn by_name(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The entries of tables for programs.
pub const CSV: &dyn Format = &csv::Csv;

/// The claims for programs.
pub const JSON: &dyn Format = &json::Json;

/// Bare tables in LaTeX.
pub const TABULAR: &dyn Format = &latex::Tabular;

/// Tables drawn with box characters, for a terminal.
pub const TERMINAL: &dyn Format = &terminal::Terminal;
