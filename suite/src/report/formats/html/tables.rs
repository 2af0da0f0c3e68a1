//! A table with its notes. Every heading sorts; buttons copy the table as text.

use maud::{Markup, PreEscaped, html};

use super::glossary::explained;
use crate::report::formats::{csv, latex, markdown};
use crate::report::legend::Legend;
use crate::report::numbers::Numbers;
use crate::report::table::{Layout, Mark, Note, Role, Row, Table, TableEntry};

/// Maximum number of letters of a text that is shown like any other entry.
const SHORT: usize = 24;

const LEGEND: Legend =
    Legend { best: "<b>bold</b>:", runner_up: Some("<u>underlined</u>:"), significant: "†:" };

/// A table of a page.
pub struct Anchored<'a> {
    /// What links name it by.
    pub id: String,
    /// The table.
    pub table: &'a Table,
}

impl<'a> Anchored<'a> {
    /// The tables of the data set at this position, with ids made of the names of their sections.
    pub fn all(data_set: usize, tables: &'a [Table]) -> Vec<Anchored<'a>> {
        let anchored = |(place, table): (usize, &'a Table)| {
            let section = table.section.replace(' ', "-");
            let before = tables[..place].iter().filter(|other| other.section == table.section).count();
            let count = if before == 0 { String::new() } else { format!("-{}", before + 1) };
            Anchored { id: format!("table-{data_set}-{section}{count}"), table }
        };
        tables.iter().enumerate().map(anchored).collect()
    }

    /// The table under its title, with what is said below it.
    pub fn markup(&self, numbers: Numbers) -> Markup {
        let Anchored { id, table } = self;
        let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str));
        html! {
            div.table id=(id) {
                div.frame {
                    div.scroll {
                        table.sortable {
                            caption { h3 { (explained(&table.title)) } }
                            thead { tr {
                                // browsers do not print a button in a heading that they repeat on the next
                                // page
                                @for heading in headings {
                                    th scope="col" { span role="button" tabindex="0" { (explained(heading)) } }
                                }
                            } }
                            tbody { @for found in &table.rows { (row(found, numbers)) } }
                        }
                    }
                }
                @if table.layout != Layout::Sentences { (copies(table, numbers)) }
                ul.notes {
                    @if table.has_marks() {
                        li { (PreEscaped(LEGEND.sentence(table.contest()).replace("p < ", "p &lt; "))) "." }
                    }
                    @for found in &table.notes { (note(found)) }
                }
            }
        }
    }
}

/// The table as text in other formats, and the buttons that copy it.
fn copies(table: &Table, numbers: Numbers) -> Markup {
    let texts = [
        ("CSV", csv::of_table(table).unwrap_or_default()),
        ("LaTeX", latex::tabular(table, numbers)),
        ("Markdown", markdown::render(table, numbers)),
    ];
    html! {
        div.copies {
            "Copy as "
            @for (name, text) in &texts {
                button type="button" { (name) } template { (text) } " "
            }
            span role="status" {}
        }
    }
}

fn note(note: &Note) -> Markup {
    match note {
        Note::Plain(text) => html! { li { (text) } },
        Note::Warning(text) => html! { li.warning { b { "Warning:" } " " (text) } },
    }
}

fn row(row: &Row, numbers: Numbers) -> Markup {
    let class = match row.role {
        Role::Contestant => None,
        Role::Floor => Some("floor"),
        Role::Ceiling => Some("ceiling"),
        Role::Reference => Some("reference"),
    };
    html! {
        tr class=[class] {
            th scope="row" data-value=(format!("{}{}", row.label, row.role.suffix())) {
                (row.label) (explained(row.role.suffix()))
            }
            @for found in &row.entries { (entry(found, numbers)) }
        }
        "\n"
    }
}

/// The value, with its details in smaller type below.
fn entry(entry: &TableEntry, numbers: Numbers) -> Markup {
    let class = match (entry, entry.mark()) {
        (TableEntry::Text(text), _) if text.chars().count() > SHORT => Some("text"),
        (_, Mark::None) => None,
        (_, Mark::Second) => Some("second"),
        (_, Mark::Best | Mark::Significant) => Some("best"),
    };
    let value = match entry {
        TableEntry::Estimate { summary, .. } => Some(summary.mean),
        TableEntry::Reported { value, .. }
        | TableEntry::Number(value)
        | TableEntry::Share(value)
        | TableEntry::Probability(value) => Some(*value),
        TableEntry::Difference(difference) => Some(difference.mean),
        TableEntry::Missing | TableEntry::Text(_) => None,
    };
    let words = entry.words(numbers);
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    html! {
        td class=[class] data-value=[value] {
            span { (first) }
            @if entry.mark() == Mark::Significant { " †" }
            @if !rest.is_empty() { small { (rest.join(" ")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::numbers::Unit;

    #[test]
    fn an_entry_says_its_value_its_mark_and_its_spread() {
        let numbers = Numbers::default();
        let best = TableEntry::estimate(vec![0.5, 0.75], Mark::Significant, false, Unit::Share);
        let text = entry(&best, numbers).into_string();
        let words = best.words(numbers);
        let expected = format!(
            "<td class=\"best\" data-value=\"0.625\"><span>{}</span> †<small>{}</small></td>",
            words[0], words[1]
        );
        assert_eq!(text, expected);
        assert_eq!(entry(&TableEntry::Missing, numbers).into_string(), "<td><span>-</span></td>");
        let long = "a".repeat(SHORT + 1);
        let text = entry(&TableEntry::Text(format!("<{long}>")), numbers).into_string();
        assert!(text.starts_with("<td class=\"text\"><span>&lt;a") && !text.contains("data-value"), "{text}");
    }
}
