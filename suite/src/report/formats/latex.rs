//! Tables in LaTeX with booktabs: a document that compiles, with `table` environments to copy into a paper.

use anyhow::Result;

use super::format::{DataSetReport, Document, Format, OutputFile};
use crate::console::one_line;
use crate::report::legend::Legend;
use crate::report::table::{Layout, Mark, Note, Role, Row, Table, TableEntry};

/// LaTeX before the tables of a report.
const PREAMBLE: &str = r"\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,margin=15mm,landscape]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
";

const LEGEND: Legend = Legend {
    best: "\\textbf{bold}:",
    runner_up: Some("\\underline{underlined}:"),
    significant: "$\\dagger$:",
};

/// A LaTeX document with booktabs.
pub struct Latex;

impl Format for Latex {
    fn name(&self) -> &'static str {
        "latex"
    }

    fn output_file(&self) -> Option<OutputFile> {
        Some(OutputFile::Tables("tex"))
    }

    fn render(&self, document: &Document) -> Result<String> {
        let body = document.data_sets.iter().map(section).collect::<String>();
        Ok(format!("{PREAMBLE}{body}\\end{{document}}\n"))
    }
}

/// A report with its title and notes.
fn section(DataSetReport { context, tables, .. }: &DataSetReport) -> String {
    let notes = context.notes.iter().map(|note| format!("{}\n\n", escaped(note))).collect::<String>();
    let tables = tables.iter().map(render).collect::<Vec<_>>().join("\n");
    format!("\\section*{{{}}}\n{notes}{tables}\\clearpage\n", escaped(&context.title))
}

/// One `table` environment: caption above, notes below.
fn render(table: &Table) -> String {
    // sentences are wrapped in a column as wide as the page allows
    let columns = match table.layout {
        Layout::Sentences => "p{0.78\\linewidth}".to_owned(),
        _ => "r".repeat(table.columns.len()),
    };
    let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str)).map(escaped);
    let rows = table.rows.iter().map(|row| line(cells(row))).collect::<String>();
    let mut notes = Vec::new();
    if table.has_marks() {
        let legend = LEGEND.sentence(table.contest(), "this");
        notes.push(format!("{}.", legend.replace("p < 0.05", "$p < 0.05$")));
    }
    notes.extend(table.notes.iter().map(|note| match note {
        Note::Plain(note) => escaped(note),
        Note::Warning(note) => format!("\\textbf{{Warning:}} {}", escaped(note)),
    }));
    let notes = notes.join("\\\\\n");
    format!(
        "\\begin{{table}}[htbp]\n\\centering\n\\caption{{{}}}\n\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n\
         \\begin{{tabular}}{{l{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}}}\n\n\
         \\smallskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\n\\end{{minipage}}\n\\end{{table}}\n",
        escaped(&table.title),
        line(headings),
    )
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("{} \\\\\n", cells.collect::<Vec<_>>().join(" & "))
}

fn cells(row: &Row) -> impl Iterator<Item = String> {
    let label = escaped(&format!("{}{}", row.label, row.role.suffix()));
    std::iter::once(label).chain(row.entries.iter().map(entry)).map(|text| match row.role {
        Role::Floor | Role::Ceiling if text != "-" => format!("\\textit{{{text}}}"),
        _ => text,
    })
}

fn entry(entry: &TableEntry) -> String {
    let text = escaped(&entry.words().join(" "));
    match entry.mark() {
        Mark::None => text,
        Mark::Second => format!("\\underline{{{text}}}"),
        Mark::Best => format!("\\textbf{{{text}}}"),
        Mark::Significant => format!("\\textbf{{{text}}}$^\\dagger$"),
    }
}

/// Last letter of Latin Extended-A, whose letters the T1 fonts have, except a few.
const LAST_LETTER: char = '\u{17e}';

/// Letters up to there that they lack.
const LACKING: [char; 8] = ['Ħ', 'ħ', 'ĸ', 'Ŀ', 'ŀ', 'ŉ', 'Ŧ', 'ŧ'];

/// Characters beyond those letters that LaTeX knows in text.
const KNOWN: [char; 12] = ['–', '—', '‘', '’', '‚', '“', '”', '„', '•', '…', '€', '™'];

/// Text in one line with LaTeX's special characters escaped. A character that LaTeX's T1 fonts lack stands as
/// its number.
fn escaped(text: &str) -> String {
    let text = one_line(text);
    let mut escaped = String::with_capacity(text.len());
    // `\\` before a row takes a bracket or a star for its own
    if text.starts_with(['[', '*']) {
        escaped.push_str("{}");
    }
    let mut before = ' ';
    for c in text.chars() {
        // two of these are one other sign
        if c == before && matches!(c, '-' | '\'' | '`' | ',') {
            escaped.push_str("{}");
        }
        before = c;
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '±' => escaped.push_str("$\\pm$"),
            '†' => escaped.push_str("$\\dagger$"),
            '−' => escaped.push_str("$-$"),
            '≤' => escaped.push_str("$\\leq$"),
            '≥' => escaped.push_str("$\\geq$"),
            c if KNOWN.contains(&c) || c <= LAST_LETTER && !LACKING.contains(&c) => escaped.push(c),
            c => escaped.push_str(&format!("\\texttt{{U+{:04X}}}", u32::from(c))),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{context, probe, rendered, value};

    #[test]
    fn what_latex_reads_otherwise_is_escaped() {
        assert_eq!(escaped("50% of a_b & <1 ± {x}"), "50\\% of a\\_b \\& $<$1 $\\pm$ \\{x\\}");
        assert_eq!(escaped("\\~^"), "\\textbackslash{}\\textasciitilde{}\\textasciicircum{}");
        assert_eq!(escaped("\\input{x}\n\n%"), "\\textbackslash{}input\\{x\\}  \\%");
        assert_eq!(escaped("[2ex] a"), "{}[2ex] a");
        assert_eq!(escaped("*"), "{}*");
        assert_eq!(escaped("a -- b ,, [0.1, 0.2]"), "a -{}- b ,{}, [0.1, 0.2]");
        assert_eq!(escaped("Zürich… ħ ≤ ש"), "Zürich… \\texttt{U+0127} $\\leq$ \\texttt{U+05E9}");
        assert_eq!(escaped("\u{1b}[0m\u{202e}"), "\\textbackslash{}u001b[0m\\textbackslash{}u202e");
    }

    #[test]
    fn best_is_bold_and_the_runner_up_underlined() {
        let context = context(&["rotation"], &["Ours", "VICReg", "SIE(rot)"]);
        let cell = |method, seed, r2| probe(method, seed, &[value("rotation", "r2_per_output", 0, r2)]);
        let cells: Vec<_> = (0..3)
            .flat_map(|seed| {
                [("Ours", 0.5), ("VICReg", 0.4), ("SIE(rot)", 0.3)].map(|(method, r2)| cell(method, seed, r2))
            })
            .collect();
        let text = rendered(&cells, &context, "latex");
        for part in [
            "Ours & \\textbf{0.500 ",
            "VICReg & \\underline{0.400 ",
            "SIE(rot) & 0.300 ",
            "\\toprule",
            "\\end{document}",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
