//! A table with its notes. Every heading is a button that sorts.

use maud::{Markup, html};

use crate::report::table::{Mark, Note, Role, Row, Table, TableEntry};

/// Maximum number of letters of a text that is shown like any other entry.
const SHORT: usize = 24;

/// The table with its title.
pub fn table(table: &Table) -> Markup {
    let headings = std::iter::once(table.stub).chain(table.columns.iter().map(String::as_str));
    html! {
        h3 { (table.title) }
        div.scroll {
            table.sortable {
                thead { tr { @for heading in headings { th scope="col" { button type="button" { (heading) } } } } }
                tbody { @for found in &table.rows { (row(found)) } }
            }
        }
        ul.notes { @for found in &table.notes { (note(found)) } }
    }
}

fn note(note: &Note) -> Markup {
    match note {
        Note::Plain(text) => html! { li { (text) } },
        Note::Warning(text) => html! { li.warning { b { "Warning:" } " " (text) } },
    }
}

fn row(row: &Row) -> Markup {
    let class = match row.role {
        Role::Contestant => None,
        Role::Floor => Some("floor"),
        Role::Ceiling => Some("ceiling"),
        Role::Reference => Some("reference"),
    };
    let label = format!("{}{}", row.label, row.role.suffix());
    html! {
        tr class=[class] {
            th scope="row" data-value=(label) { (label) }
            @for found in &row.entries { (entry(found)) }
        }
        "\n"
    }
}

/// The value, with its details in smaller type below.
fn entry(entry: &TableEntry) -> Markup {
    let class = match (entry, entry.mark()) {
        (TableEntry::Text(text), _) if text.chars().count() > SHORT => Some("text"),
        (_, Mark::None) => None,
        (_, Mark::Second) => Some("second"),
        (_, Mark::Best | Mark::Significant) => Some("best"),
    };
    let value = match entry {
        TableEntry::Estimate { summary, .. } => Some(summary.mean),
        TableEntry::Reported { value, .. } | TableEntry::Number(value) | TableEntry::Probability(value) => {
            Some(*value)
        }
        TableEntry::Difference(difference) => Some(difference.mean),
        TableEntry::Missing | TableEntry::Text(_) => None,
    };
    let words = entry.words();
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

    #[test]
    fn an_entry_says_its_value_its_mark_and_its_spread() {
        let best = TableEntry::estimate(vec![0.5, 0.75], Mark::Significant, false);
        let text = entry(&best).into_string();
        let words = best.words();
        let expected = format!(
            "<td class=\"best\" data-value=\"0.625\"><span>{}</span> †<small>{}</small></td>",
            words[0], words[1]
        );
        assert_eq!(text, expected);
        assert_eq!(entry(&TableEntry::Missing).into_string(), "<td><span>-</span></td>");
        let long = "a".repeat(SHORT + 1);
        let text = entry(&TableEntry::Text(format!("<{long}>"))).into_string();
        assert!(text.starts_with("<td class=\"text\"><span>&lt;a") && !text.contains("data-value"), "{text}");
    }
}
