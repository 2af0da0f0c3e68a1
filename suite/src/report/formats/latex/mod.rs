//! Tables in LaTeX with booktabs: a document that compiles, with `table` environments to copy into a paper.

mod tabular;
mod text;

use anyhow::Result;
pub use tabular::{Tabular, tabular};
use text::escaped;

use super::format::{DataSetReport, Document, Format, OutputFile};
use crate::report::legend::Legend;
use crate::report::numbers::Numbers;
use crate::report::table::{Note, Table};

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
        let body =
            document.data_sets.iter().map(|found| section(found, document.numbers)).collect::<String>();
        Ok(format!("{PREAMBLE}{body}\\end{{document}}\n"))
    }
}

/// A report with its title and notes.
fn section(DataSetReport { context, tables, .. }: &DataSetReport, numbers: Numbers) -> String {
    let notes = context.notes.iter().map(|note| format!("{}\n\n", escaped(note))).collect::<String>();
    let tables = tables.iter().map(|table| render(table, numbers)).collect::<Vec<_>>().join("\n");
    format!("\\section*{{{}}}\n{notes}{tables}\\clearpage\n", escaped(&context.title))
}

/// One `table` environment: caption above, notes below.
pub fn render(table: &Table, numbers: Numbers) -> String {
    let mut notes = Vec::new();
    if table.has_marks() {
        notes.push(format!("{}.", legend(table)));
    }
    notes.extend(table.notes.iter().map(|note| match note {
        Note::Plain(note) => escaped(note),
        Note::Warning(note) => format!("\\textbf{{Warning:}} {}", escaped(note)),
    }));
    let notes = notes.join("\\\\\n");
    let tabular = tabular(table, numbers);
    format!(
        "\\begin{{table}}[htbp]\n\\centering\n\\caption{{{}}}\n\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n\
         {}}}\n\n\
         \\smallskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\n\\end{{minipage}}\n\\end{{table}}\n",
        escaped(&table.title),
        tabular.trim_end(),
    )
}

/// What the marks of a table mean.
fn legend(table: &Table) -> String {
    LEGEND.sentence(table.contest()).replace("p < 0.05", "$p < 0.05$")
}

#[cfg(test)]
mod tests {
    use crate::report::fixture::{context, probe, rendered, value};

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
