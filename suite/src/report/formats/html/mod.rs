//! The report as one page that needs no network: a list of its tables, the tables, bars, a heat map, the
//! run's pictures, its provenance, and a glossary.

mod bars;
mod glossary;
mod heat_map;
mod pictures;
mod provenance;
mod shell;
mod small_pictures;
mod tables;

use anyhow::Result;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

pub use self::heat_map::heat_cell;
pub use self::shell::page_shell;
use self::tables::Anchored;
use super::format::{DataSetReport, Document, Format, OutputFile};
use crate::registry::TaskFamily;
use crate::report::column::Column;
use crate::report::numbers::Numbers;
use crate::report::sections::is_of_claims;
use crate::report::table::{Layout, Note, Table};
use crate::report::xray::of_run;
use crate::run_folder::{layout, manifest};
use crate::suite_file::scale::Scale;

const JS: &str = include_str!("page.js");

/// One self-contained page.
pub struct Html;

impl Format for Html {
    fn name(&self) -> &'static str {
        "html"
    }

    fn output_file(&self) -> Option<OutputFile> {
        Some(OutputFile::Page(layout::PAGE))
    }

    fn render(&self, document: &Document) -> Result<String> {
        Ok(page(document).into_string())
    }
}

/// A section of the page.
struct Section {
    id: String,
    name: String,
    content: Markup,
    /// Id and title of each of its tables.
    tables: Vec<(String, String)>,
}

impl Section {
    /// A section without tables.
    fn new(id: &str, name: &str, content: Markup) -> Section {
        Section { id: id.to_owned(), name: name.to_owned(), content, tables: vec![] }
    }
}

fn page(document: &Document) -> Markup {
    let data_sets = &document.data_sets;
    // a page can be made of cells alone
    let manifest = manifest::read_whole(document.folder).ok().flatten();
    let title = match &data_sets[..] {
        [one] => one.context.title.as_str(),
        several => several.first().map_or("eqr-bench", |data_set| data_set.context.suite.as_str()),
    };
    let sections = sections(document, manifest.as_ref());
    let body = html! {
        header {
            h1 { (title) " " @if let Some(first) = data_sets.first() { (badge(first.context.scale)) } }
            p.meta { (run_in_a_line(data_sets, manifest.as_ref())) }
            (contents(&sections))
            (warnings(document))
        }
        main {
            @for Section { id, name, content, .. } in &sections { section id=(id) { h2 { (name) } (content) } "\n" }
        }
        footer {
            "eqr-bench " (env!("CARGO_PKG_VERSION"))
            ". Mean ± sample standard deviation, 95% Student interval over pretraining seeds."
        }
        script { (PreEscaped(JS)) }
    };
    page_shell(title, &body)
}

/// Links to every section and every table, and the field that filters rows.
fn contents(sections: &[Section]) -> Markup {
    let count: usize = sections.iter().map(|section| section.tables.len()).sum();
    html! {
        nav aria-label="Contents" {
            ul { @for section in sections { li { a href=(format!("#{}", section.id)) { (section.name) } } } }
            details {
                summary { "All " (count) " tables" }
                ol { @for (id, title) in sections.iter().flat_map(|section| &section.tables) {
                    li { a href=(format!("#{id}")) { (title) } }
                } }
            }
            label.filter hidden {
                "Show rows with " input type="search" placeholder="Ours, rotation, .." ;
                span role="status" {}
            }
        }
    }
}

fn badge(scale: Scale) -> Markup {
    match scale {
        Scale::Full => html! { span.badge.full { "full scale" } },
        Scale::Reduced => html! { span.badge { "reduced" } },
    }
}

/// What was run, when and where.
fn run_in_a_line(data_sets: &[DataSetReport], manifest: Option<&Value>) -> String {
    let suite = data_sets.first().map(|data_set| format!("suite {}", data_set.context.suite));
    let rest = [("started", ""), ("cpu", ""), ("git", "commit ")];
    let rest = rest.into_iter().filter_map(|(key, before)| {
        let value = manifest?["provenance"][key].as_str()?;
        Some(format!("{before}{value}"))
    });
    suite.into_iter().chain(rest).collect::<Vec<_>>().join(" · ")
}

fn sections(document: &Document, manifest: Option<&Value>) -> Vec<Section> {
    let several = document.data_sets.len() > 1;
    let mut all = Vec::new();
    for (i, data_set) in document.data_sets.iter().enumerate() {
        let name = if several { data_set.context.title.clone() } else { "Results".to_owned() };
        let tables = Anchored::all(i, &data_set.tables);
        let shown: Vec<&Anchored> = tables.iter().filter(|found| !is_protocol(found.table)).collect();
        all.push(Section {
            id: format!("results-{i}"),
            name,
            content: results(data_set, &shown, document.numbers),
            tables: titles(&shown, several.then_some(data_set)),
        });
    }
    for (i, data_set) in document.data_sets.iter().enumerate().filter(|(_, set)| !set.xrays.is_empty()) {
        let which = if several { format!(": {}", data_set.context.title) } else { String::new() };
        let content = of_run::markup(&data_set.xrays);
        all.push(Section::new(&format!("xray-{i}"), &format!("X-rays{which}"), content));
    }
    let pictures = pictures::read(document.folder);
    let reconstructions = reconstructions(document);
    for group in pictures::GROUPS {
        let below: &[String] = if group.id == pictures::RECONSTRUCTIONS { &reconstructions } else { &[] };
        let section = |pictures: Markup| {
            let content = html! { (pictures) @if !below.is_empty() { ul.notes { @for text in below { li { (text) } } } } };
            Section::new(group.id, group.name, content)
        };
        all.extend(group.markup(&pictures).map(section));
    }
    for (i, data_set) in document.data_sets.iter().enumerate() {
        let tables = Anchored::all(i, &data_set.tables);
        let choices: Vec<&Anchored> = tables.iter().filter(|found| is_protocol(found.table)).collect();
        if !choices.is_empty() {
            let which = if several { format!(": {}", data_set.context.title) } else { String::new() };
            all.push(Section {
                id: format!("protocol-{i}"),
                name: format!("Protocol{which}"),
                content: html! { @for found in &choices { (found.markup(document.numbers)) } },
                tables: titles(&choices, several.then_some(data_set)),
            });
        }
    }
    all.push(Section::new("provenance", "Provenance", provenance::markup(manifest)));
    all.push(Section::new("glossary", "Glossary", glossary::markup()));
    all
}

/// Id and title of every table, after the title of its data set if there are several.
fn titles(tables: &[&Anchored], data_set: Option<&DataSetReport>) -> Vec<(String, String)> {
    let which = data_set.map(|data_set| format!("{}: ", data_set.context.title)).unwrap_or_default();
    tables.iter().map(|found| (found.id.clone(), format!("{which}{}", found.table.title))).collect()
}

/// What the reconstructions use, in words; with the data set, if there are several.
fn reconstructions(document: &Document) -> Vec<String> {
    let several = document.data_sets.len() > 1;
    let of_set = |data_set: &DataSetReport| {
        let which = if several { format!("{}: ", data_set.context.title) } else { String::new() };
        data_set.reconstructions.iter().map(|text| format!("{which}{text}")).collect::<Vec<_>>()
    };
    document.data_sets.iter().flat_map(of_set).collect()
}

/// Whether a table consists of sentences. Such tables have their own section.
fn is_protocol(table: &Table) -> bool {
    table.layout == Layout::Sentences
}

/// The bars, heat map and tables of a data set.
fn results(data_set: &DataSetReport, tables: &[&Anchored], numbers: Numbers) -> Markup {
    let notes = &data_set.context.notes;
    let (claims, all): (Vec<&Anchored>, Vec<&Anchored>) =
        tables.iter().partition(|found| is_of_claims(found.table));
    let (first, all) = all.split_at(all.len().min(1));
    let bars: Vec<Markup> = data_set.headlines.iter().filter_map(bars::figure).collect();
    let is_r2 = |column: &&Column| TaskFamily::of_task(&column.subject) == TaskFamily::Transformation;
    let r2: Vec<&Column> = data_set.headlines.iter().filter(is_r2).collect();
    html! {
        @if !notes.is_empty() { ul.notes { @for note in notes { li { (note) } } } }
        @for found in claims.iter().chain(first) { (found.markup(numbers)) }
        @if !bars.is_empty() {
            h3 { "Means and intervals" }
            div.bars { @for figure in bars { (figure) } }
        }
        @if let Some(map) = heat_map::map(&r2) {
            h3 { "Which method keeps which transform: R2" }
            (map)
        }
        div.details { @for found in all { (found.markup(numbers)) } }
    }
}

/// Reasons not to trust the results: what is incomplete, and the main tables' warnings.
fn warnings(document: &Document) -> Markup {
    let failed = pictures::file_names(document.folder, layout::FAILED).into_iter();
    let failed =
        failed.map(|name| format!("{} has failed: see failed/{name}.", name.trim_end_matches(".json")));
    let mut all: Vec<String> = document.problems.iter().cloned().chain(failed).collect();
    for data_set in &document.data_sets {
        let which = if document.data_sets.len() > 1 {
            format!("{}: ", data_set.context.title)
        } else {
            String::new()
        };
        let main = data_set.tables.iter().find(|table| !is_of_claims(table));
        // the warnings of the other tables are printed below those tables
        for note in main.iter().flat_map(|table| &table.notes) {
            if let Note::Warning(text) = note {
                all.push(format!("{which}{text}"));
            }
        }
    }
    html! {
        @if !all.is_empty() {
            div.warnings role="note" { h2 { "Before you read on" } ul { @for text in all { li { (text) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::report::context::ReportContext;
    use crate::report::fixture::{context, probe, value};
    use crate::run_folder::folder::RunFolder;

    #[test]
    fn data_sets_are_told_apart_and_what_failed_is_said_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("failed")).unwrap();
        std::fs::write(folder.path().join("failed/probe-ours-seed0.json"), "{}").unwrap();
        let mut cells = vec![];
        let contexts = ["solids", "photos"].map(|key| {
            let cell = probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.5)]);
            cells.push(crate::run_folder::cell::Cell { data_set: Some(key.to_owned()), ..cell });
            let title = format!("Tiny: {key}");
            ReportContext { part: Some(key.to_owned()), title, ..context(&["rotation"], &["Ours"]) }
        });
        let contexts: Vec<&ReportContext> = contexts.iter().collect();
        let folder = RunFolder::new(folder.path());
        let text = Report::new(&folder, &cells, &contexts).render(&Html).unwrap();
        for part in [
            "<title>tiny</title>",
            "<a href=\"#results-1\">Tiny: photos</a>",
            "<section id=\"results-0\"><h2>Tiny: solids</h2>",
            "<li>probe-ours-seed0 has failed: see failed/probe-ours-seed0.json.</li>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.find("Before you read on") < text.find("<main>"));
    }
}
