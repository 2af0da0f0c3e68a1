//! Tables in GitHub's Markdown.

use super::ReportContext;
use super::table::{Mark, Note, Role, Row, Table, TableEntry};

/// The tables under the report's title and notes.
pub fn document(context: &ReportContext, tables: &[Table]) -> String {
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
        text.push_str(&format!(
            "- **bold**: best of its {}, floor and ceiling aside; †: significantly better than the runner-up (p < 0.05, \
             Holm-corrected within this table).\n",
            table.section.methods_in()
        ));
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
    let text = escaped(&entry.parts().join(" "));
    match entry.mark() {
        Mark::None | Mark::Second => text,
        Mark::Best => format!("**{text}**"),
        Mark::Significant => format!("**{text}** †"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
