//! The forms that a report is written in: one file a format, one line of [`FORMATS`] each.

mod csv;
mod format;
mod html;
mod latex;
mod markdown;
mod terminal;

pub use format::{DataSetReport, Document, Format, OutputFile};

/// Every format, in the order of `report --help`.
pub const FORMATS: &[&dyn Format] =
    &[&terminal::Terminal, &markdown::Markdown, &latex::Latex, &csv::Csv, &html::Html];

/// The format of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// Boxes, for a terminal.
pub const TERMINAL: &dyn Format = &terminal::Terminal;
