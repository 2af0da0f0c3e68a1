//! A bare `tabular` with booktabs, for `\\input` in a paper.

use anyhow::Result;

use super::legend;
use super::text::escaped;
use crate::report::formats::format::{DataSetReport, Document, Format, OutputFile};
use crate::report::numbers::{Numbers, Spread};
use crate::report::table::{Layout, Mark, Role, Row, Table, TableEntry};

/// Letters of a text that stands in one line; longer ones are wrapped.
const ONE_LINE: usize = 60;

/// Bare tables, by default with standard deviations alone.
pub struct Tabular;

impl Format for Tabular {
    fn name(&self) -> &'static str {
        "tabular"
    }

    fn output_file(&self) -> Option<OutputFile> {
        Some(OutputFile::Headlines("tex"))
    }

    fn render(&self, document: &Document) -> Result<String> {
        let numbers = document.numbers.spread_or(Spread::Std);
        let of_set = |DataSetReport { context, tables, .. }: &DataSetReport| {
            tables.iter().map(|table| commented(&context.title, table, numbers)).collect::<String>()
        };
        Ok(document.joined(of_set))
    }
}

/// The table, below comments that say what it is.
fn commented(title: &str, table: &Table, numbers: Numbers) -> String {
    let marks = if table.has_marks() { format!("% {}\n", legend(table)) } else { String::new() };
    format!(
        "% {}: {}\n{marks}% needs \\usepackage{{booktabs}}\n{}",
        escaped(title),
        escaped(&table.title),
        tabular(table, numbers)
    )
}

/// The table alone.
pub fn tabular(table: &Table, numbers: Numbers) -> String {
    // sentences are wrapped in a column as wide as the page allows
    let columns = match table.layout {
        Layout::Sentences => "p{0.78\\linewidth}".to_owned(),
        _ => "r".repeat(table.columns.len()),
    };
    let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str)).map(boxed);
    let rows = table.rows.iter().map(|row| line(cells(table.layout, row, numbers))).collect::<String>();
    format!(
        "\\begin{{tabular}}{{l{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n",
        line(headings)
    )
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("{} \\\\\n", cells.collect::<Vec<_>>().join(" & "))
}

fn cells(layout: Layout, row: &Row, numbers: Numbers) -> impl Iterator<Item = String> {
    let label = boxed(&format!("{}{}", row.label, row.role.suffix()));
    std::iter::once(label).chain(row.entries.iter().map(move |found| entry(layout, found, numbers))).map(
        |text| match row.role {
            Role::Floor | Role::Ceiling if text != "-" => format!("\\textit{{{text}}}"),
            _ => text,
        },
    )
}

fn entry(layout: Layout, entry: &TableEntry, numbers: Numbers) -> String {
    let words = entry.words(numbers).join(" ");
    let text = match entry {
        TableEntry::Missing => words,
        // its column wraps it
        TableEntry::Text(text) if layout == Layout::Sentences => escaped(text),
        TableEntry::Text(text) => boxed(text),
        _ => escaped(&words).replace('-', "$-$"),
    };
    match entry.mark() {
        Mark::None => text,
        Mark::Second => format!("\\underline{{{text}}}"),
        Mark::Best => format!("\\textbf{{{text}}}"),
        Mark::Significant => format!("\\textbf{{{text}}}$^\\dagger$"),
    }
}

/// A text of a cell. A long one is wrapped, so that the table does not become wider than the page.
fn boxed(text: &str) -> String {
    match text.chars().count() {
        0..=ONE_LINE => escaped(text),
        _ => format!("\\parbox[t]{{0.3\\linewidth}}{{\\raggedright {}\\strut}}", escaped(text)),
    }
}

#[cfg(test)]
mod tests {
    use crate::report::fixture::{context, probe, rendered, value};

    #[test]
    fn a_bare_table_has_true_minus_signs_and_wraps_long_names() {
        let long = "x".repeat(400);
        let context = context(&["rotation"], &["Random init", "Ours", &long]);
        let cell = |method: &str, seed, r2| probe(method, seed, &[value("rotation", "r2_per_output", 0, r2)]);
        let cells = [
            cell("Random init", 0, -0.25),
            cell("Random init", 1, -0.75),
            cell("Ours", 0, 0.5),
            cell(&long, 0, 0.5),
        ];
        let text = rendered(&cells, &context, "tabular");
        let end = "\\bottomrule\n\\end{tabular}\n";
        let text = &text[..text.find(end).expect("the main table ends") + end.len()];
        let (comments, table): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('%'));
        assert!(comments[0].starts_with("% A tiny suite: Representation y"), "{text}");
        assert_eq!(table[..2], ["\\begin{tabular}{lr}", "\\toprule"]);
        assert!(
            text.contains("\\textit{Random init (floor)} & \\textit{$-$0.500 $\\pm$ 0.354} \\\\\n"),
            "{text}"
        );
        assert!(text.contains("\nOurs & 0.500 (n = 1) \\\\\n") && !text.contains(" ["), "{text}");
        let wrapped = table.iter().find(|line| line.starts_with("\\parbox[t]")).expect("the long name");
        assert_eq!(wrapped.matches("\\allowbreak{}").count(), 19);
    }
}
