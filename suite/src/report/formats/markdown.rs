//! Tables in GitHub's Markdown.

use anyhow::Result;

use super::format::{DataSetReport, Document, Format, OutputFile};
use crate::report::legend::Legend;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};

const LEGEND: Legend = Legend { best: "**bold**:", runner_up: None, significant: "†:" };

/// GitHub's Markdown.
pub struct Markdown;

impl Format for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn output_file(&self) -> Option<OutputFile> {
        Some(OutputFile::Tables("md"))
    }

    fn render(&self, document: &Document) -> Result<String> {
        Ok(document.joined(data_set))
    }
}

/// The tables under the report's title and notes.
fn data_set(DataSetReport { context, tables, .. }: &DataSetReport) -> String {
    let notes = context.notes.iter().map(|note| format!("- {note}\n")).collect::<String>();
    let space = if notes.is_empty() { "" } else { "\n" };
    let tables = tables.iter().map(render).collect::<Vec<_>>().join("\n");
    format!("## {}\n\n{notes}{space}{tables}", context.title)
}

/// The table with its title above and its notes below.
fn render(table: &Table) -> String {
    let mut text = format!("### {}\n\n", table.title);
    let headings = table.columns.iter().map(|heading| escaped(heading));
    text.push_str(&line(std::iter::once(table.stub.to_owned()).chain(headings)));
    text.push_str(&line(
        std::iter::once(":---".to_owned()).chain(table.columns.iter().map(|_| "---:".to_owned())),
    ));
    table.rows.iter().for_each(|row| text.push_str(&line(cells(row))));
    text.push('\n');
    if table.has_marks() {
        text.push_str(&format!("- {}.\n", LEGEND.sentence(table.contest(), "this")));
    }
    for note in &table.notes {
        text.push_str(&match note {
            Note::Plain(note) => format!("- {note}\n"),
            Note::Warning(note) => format!("- **Warning:** {note}\n"),
        });
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cells(row: &Row) -> impl Iterator<Item = String> {
    let label = escaped(&format!("{}{}", row.label, row.role.suffix()));
    std::iter::once(label).chain(row.entries.iter().map(entry)).map(|text| match row.role {
        Role::Floor | Role::Ceiling if text != "-" => format!("*{text}*"),
        _ => text,
    })
}

fn entry(entry: &TableEntry) -> String {
    let text = escaped(&entry.words().join(" "));
    match entry.mark() {
        Mark::None | Mark::Second => text,
        Mark::Best => format!("**{text}**"),
        Mark::Significant => format!("**{text}** †"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
