//! Tables in GitHub's Markdown.

use anyhow::Result;

use super::format::{DataSetReport, Document, Format, OutputFile};
use crate::console::one_line;
use crate::report::legend::Legend;
use crate::report::numbers::Numbers;
use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};

const LEGEND: Legend = Legend { best: "**bold**:", runner_up: None, significant: "†:" };

/// Marks at the beginning of an item that begin a block of its own, or a box to tick.
const BLOCKS: [char; 7] = ['#', '-', '+', '=', '>', '[', '`'];

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
        Ok(document.joined(|found| data_set(found, document.numbers)))
    }
}

/// The tables under the report's title and notes.
fn data_set(DataSetReport { context, tables, .. }: &DataSetReport, numbers: Numbers) -> String {
    let notes = context.notes.iter().map(|note| item("", note)).collect::<String>();
    let space = if notes.is_empty() { "" } else { "\n" };
    let tables = tables.iter().map(|table| render(table, numbers)).collect::<Vec<_>>().join("\n");
    format!("## {}\n\n{notes}{space}{tables}", escaped(&context.title))
}

/// The table with its title above and its notes below.
pub fn render(table: &Table, numbers: Numbers) -> String {
    let mut text = format!("### {}\n\n", escaped(&table.title));
    let headings = table.columns.iter().map(|heading| escaped(heading));
    text.push_str(&line(std::iter::once(escaped(table.stub)).chain(headings)));
    text.push_str(&line(
        std::iter::once(":---".to_owned()).chain(table.columns.iter().map(|_| "---:".to_owned())),
    ));
    table.rows.iter().for_each(|row| text.push_str(&line(cells(row, numbers))));
    text.push('\n');
    if table.has_marks() {
        text.push_str(&format!("- {}.\n", LEGEND.sentence(table.contest())));
    }
    for note in &table.notes {
        text.push_str(&match note {
            Note::Plain(note) => item("", note),
            Note::Warning(note) => item("**Warning:** ", note),
        });
    }
    text
}

/// An item of a list. A text that begins like a block of its own, such as a list in the list, is still a
/// text.
fn item(before: &str, text: &str) -> String {
    let text = escaped(text);
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let is_block = text[digits..].starts_with(if digits > 0 { &['.', ')'] } else { &BLOCKS[..] });
    let (number, rest) = text.split_at(digits);
    format!("- {before}{number}{}{rest}\n", if is_block { "\\" } else { "" })
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cells(row: &Row, numbers: Numbers) -> impl Iterator<Item = String> {
    let label = escaped(&format!("{}{}", row.label, row.role.suffix()));
    std::iter::once(label).chain(row.entries.iter().map(move |found| entry(found, numbers))).map(|text| {
        match row.role {
            Role::Floor | Role::Ceiling if text != "-" => format!("*{text}*"),
            _ => text,
        }
    })
}

fn entry(entry: &TableEntry, numbers: Numbers) -> String {
    let text = escaped(&entry.words(numbers).join(" "));
    match entry.mark() {
        Mark::None | Mark::Second => text,
        Mark::Best => format!("**{text}**"),
        Mark::Significant => format!("**{text}** †"),
    }
}

/// Text in one line with the characters escaped that Markdown or HTML would take for marks. What they take
/// for text stays as it is: intervals in brackets, `p < 0.05`, underscores within names.
fn escaped(text: &str) -> String {
    let text = one_line(text);
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' if next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?') => escaped.push_str("&lt;"),
            '&' if next.is_ascii_alphanumeric() || next == '#' => escaped.push_str("&amp;"),
            _ => {
                let is_mark = match c {
                    '\\' | '|' | '*' | '~' | '$' => true,
                    '_' => !(before.is_alphanumeric() && next.is_alphanumeric()),
                    // the address of a link, and its definition
                    '(' | ':' | '[' => before == ']',
                    _ => false,
                };
                escaped.extend(is_mark.then_some('\\'));
                escaped.push(c);
            }
        }
        before = c;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_names_are_text() {
        for (text, expected) in [
            ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
            ("<!-- a <?php", "&lt;!-- a &lt;?php"),
            ("&lt;b&gt; &#60; a && b & c", "&amp;lt;b&amp;gt; &amp;#60; a && b & c"),
            ("[x](javascript:y) ![i](z) [a][b] [c]: d", "[x]\\(javascript:y) ![i]\\(z) [a]\\[b] [c]\\: d"),
            ("a | b \\| *c* _d_ ~~e~~ $f$\ng", "a \\| b \\\\\\| \\*c\\* \\_d\\_ \\~\\~e\\~\\~ \\$f\\$ g"),
            (
                "r2_per_output 0.1 ± 0.2 [0.0, 0.3], p < 0.05, A > B",
                "r2_per_output 0.1 ± 0.2 [0.0, 0.3], p < 0.05, A > B",
            ),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn an_item_holds_no_block() {
        for (text, expected) in [
            ("# a", "- \\# a\n"),
            ("- a", "- \\- a\n"),
            ("+ a", "- \\+ a\n"),
            ("> a", "- \\> a\n"),
            ("12. a", "- 12\\. a\n"),
            ("1) a", "- 1\\) a\n"),
            ("[x] a", "- \\[x] a\n"),
            ("```sh", "- \\```sh\n"),
            ("12 of 14 are not measured (`-`).", "- 12 of 14 are not measured (`-`).\n"),
        ] {
            assert_eq!(item("", text), expected);
        }
    }
}
