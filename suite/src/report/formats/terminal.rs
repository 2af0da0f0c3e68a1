//! Tables for a terminal.

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Grid, TableComponent as Lines, presets};

use super::format::{DataSetReport, Document, Format};
use crate::console::one_line;
use crate::report::legend::Legend;
use crate::report::table::{Layout, Mark, Note, Row, Table, TableEntry};

/// Number of characters per line that a usual window shows.
const WIDTH: usize = 100;

const LEGEND: Legend = Legend { best: "*", runner_up: None, significant: "**" };

/// Tables drawn with box characters, for a terminal.
pub struct Terminal;

impl Format for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn render(&self, document: &Document) -> Result<String> {
        Ok(document.joined(data_set))
    }
}

/// The tables under the report's title and notes.
fn data_set(DataSetReport { context, tables, .. }: &DataSetReport) -> String {
    let notes = context.notes.iter().map(|note| wrapped(note)).collect::<String>();
    let tables = tables.iter().map(render).collect::<Vec<_>>().join("\n");
    format!("{}\n{notes}\n{tables}", one_line(&context.title))
}

/// The table with its title above and its notes below.
fn render(table: &Table) -> String {
    // a grid would be as wide as its longest sentence
    let body = if table.layout == Layout::Sentences { sentences(table) } else { grid(table) + "\n" };
    let mut text = format!("{}\n{body}", one_line(&table.title));
    if table.has_marks() {
        let legend = LEGEND.sentence(table.contest(), "this").replacen(" (", "\n    (", 1);
        text.push_str(&format!("  {legend}\n"));
    }
    for note in &table.notes {
        let line = match note {
            Note::Plain(note) => note.clone(),
            Note::Warning(note) => format!("WARNING: {note}"),
        };
        text.push_str(&wrapped(&line));
    }
    text
}

/// Rows that hold one text each, as indented paragraphs.
fn sentences(table: &Table) -> String {
    let words = |row: &Row| row.entries.iter().flat_map(TableEntry::words).collect::<Vec<_>>().join(" ");
    table.rows.iter().map(|row| wrapped(&format!("{}: {}", row.label, words(row)))).collect()
}

/// One line per row if that fits; otherwise intervals are printed below their values.
fn grid(table: &Table) -> String {
    let lines = filled(table, " ");
    let width = lines.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if width > WIDTH { filled(table, "\n") } else { lines }
}

fn filled(table: &Table, separator: &str) -> String {
    let mut grid = Grid::new();
    // The output also goes to files and pipes, so it must not depend on the terminal.
    grid.force_no_tty()
        .set_content_arrangement(ContentArrangement::Disabled)
        .load_preset(presets::UTF8_HORIZONTAL_ONLY);
    for line in [
        Lines::HorizontalLines,
        Lines::MiddleIntersections,
        Lines::LeftBorderIntersections,
        Lines::RightBorderIntersections,
    ] {
        grid.remove_style(line);
    }
    let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str));
    grid.set_header(headings.map(narrow));
    grid.add_rows(table.rows.iter().map(|entries| row(entries, separator)));
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid.trim_fmt()
}

fn row(row: &Row, separator: &str) -> Vec<Cell> {
    let label = Cell::new(narrow(&format!("{}{}", row.label, row.role.suffix())));
    std::iter::once(label).chain(row.entries.iter().map(|found| entry(found, separator))).collect()
}

fn entry(entry: &TableEntry, separator: &str) -> Cell {
    let stars = match entry.mark() {
        Mark::None | Mark::Second => "",
        Mark::Best => "* ",
        Mark::Significant => "** ",
    };
    match entry {
        TableEntry::Text(text) => Cell::new(narrow(text)),
        TableEntry::Estimate { .. } => Cell::new(format!("{stars}{}", entry.words().join(separator))),
        _ => Cell::new(entry.words().join(" ")),
    }
}

/// A text in lines that are no longer than a window is wide: a long name would make every row as long.
fn narrow(text: &str) -> String {
    let letters: Vec<char> = one_line(text).chars().collect();
    letters.chunks(WIDTH).map(String::from_iter).collect::<Vec<String>>().join("\n")
}

/// A note, indented and wrapped.
fn wrapped(note: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in note.split_whitespace() {
        let full = lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > WIDTH);
        if full {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
