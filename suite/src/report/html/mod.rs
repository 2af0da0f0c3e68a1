//! The report as one page that needs no network: tables that sort, bars, a map of colours, the run's pictures, its provenance.

mod bars;
mod heat;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use serde_json::Value;

use super::column::Column;
use super::leaves::{Leaf, leaves};
use super::table::{Mark, Note, Role, Row, Section, Table, TableEntry};
use super::{ReportContext, Scale};

const CSS: &str = include_str!("page.css");
/// Letters up to which words are an entry like any other.
const SHORT: usize = 24;
const JS: &str = include_str!("page.js");

/// A data set's part of the page.
pub struct Part<'a> {
    /// What the report says of it beside the cells.
    pub context: &'a ReportContext,
    /// Its tables, in order.
    pub tables: Vec<Table>,
    /// Its headline columns, for bars and colours.
    pub columns: Vec<Column>,
}

/// What a page shows beside tables; all of it may be missing.
#[derive(Default)]
pub struct Assets {
    /// The run's manifest.
    pub manifest: Option<Value>,
    /// PNG files of `figures/`, by name.
    pub figures: Vec<(String, Vec<u8>)>,
    /// What is not whole: damaged cells, failed ones.
    pub problems: Vec<String>,
}

/// A whole page.
pub fn page(parts: &[Part], assets: &Assets) -> String {
    let title = match parts {
        [one] => one.context.title.clone(),
        _ => parts.first().map_or_else(|| "eqr-bench".to_owned(), |part| part.context.suite.clone()),
    };
    let badges = parts.first().map(|part| badge(part.context.scale)).unwrap_or_default();
    let sections: Vec<(String, String, String)> = sections(parts, assets);
    let links: String = sections
        .iter()
        .map(|(id, name, _)| format!("<li><a href=\"#{id}\">{}</a></li>", escaped(name)))
        .collect();
    let body: String = sections
        .iter()
        .map(|(id, name, html)| {
            format!("<section id=\"{id}\"><h2>{}</h2>\n{html}</section>\n", escaped(name))
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{CSS}</style>\n</head>\n<body>\n<header>\n<h1>{title} {badges}</h1>\n{}\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n{}</header>\n<main>\n{body}</main>\n<footer>eqr-bench {}. Mean ± sample standard deviation, \
         95% Student interval over pretraining seeds; <b>bold</b>: best, <u>underlined</u>: runner-up, †: significantly better than the runner-up \
         (p &lt; 0.05, Holm-corrected within its table); floor and ceiling do not compete.</footer>\n<script>\n{JS}</script>\n</body>\n</html>\n",
        meta(parts, assets),
        warnings(parts, assets),
        env!("CARGO_PKG_VERSION"),
        title = escaped(&title),
    )
}

fn badge(scale: Scale) -> &'static str {
    match scale {
        Scale::Full => "<span class=\"badge full\">full scale</span>",
        Scale::Reduced => "<span class=\"badge\">reduced</span>",
    }
}

/// One line of what and where.
fn meta(parts: &[Part], assets: &Assets) -> String {
    let of_run =
        |key: &str| assets.manifest.as_ref().and_then(|manifest| manifest["provenance"][key].as_str());
    let suite = parts.first().map(|part| format!("suite {}", part.context.suite));
    let rest = [("started", ""), ("cpu", ""), ("git", "commit ")];
    let rest = rest.into_iter().filter_map(|(key, before)| Some(format!("{before}{}", of_run(key)?)));
    let all: Vec<String> = suite.into_iter().chain(rest).collect();
    format!("<p class=\"meta\">{}</p>\n", escaped(&all.join(" · ")))
}

/// Id, name and content of every section.
fn sections(parts: &[Part], assets: &Assets) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        let several = parts.len() > 1;
        let name = if several { part.context.title.clone() } else { "Results".to_owned() };
        all.push((format!("results-{i}"), name, results(part)));
    }
    let pictures = [
        ("curves", "Training", vec!["training-curves", "probe-curve"], ""),
        ("reconstructions", "Reconstructions", vec!["reconstruction-"], ""),
        ("segmentation", "Segmented scenes", vec!["segment-"], " many"),
    ];
    for (id, name, prefixes, class) in pictures {
        let html = figures(assets, &prefixes, class);
        if !html.is_empty() {
            all.push((id.to_owned(), name.to_owned(), html));
        }
    }
    for (i, part) in parts.iter().enumerate() {
        let tables: String =
            part.tables.iter().filter(|table| table.section == Section::Protocol).map(table).collect();
        if !tables.is_empty() {
            let of = if parts.len() > 1 { format!(": {}", part.context.title) } else { String::new() };
            all.push((format!("protocol-{i}"), format!("Protocol{of}"), tables));
        }
    }
    all.push(("provenance".to_owned(), "Provenance".to_owned(), provenance(assets)));
    all
}

/// Bars, colours, tables of a data set.
fn results(part: &Part) -> String {
    let notes: String = part.context.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul class=\"notes\">{notes}</ul>\n") };
    let mut tables = part.tables.iter().filter(|table| table.section != Section::Protocol);
    let first = tables.next().map(table).unwrap_or_default();
    let bars: String = part.columns.iter().filter_map(bars::figure).collect();
    let bars = if bars.is_empty() {
        bars
    } else {
        format!("<h3>Means and intervals</h3>\n<div class=\"bars\">\n{bars}</div>\n")
    };
    let r2: Vec<&Column> = part.columns.iter().filter(|column| column.measure == "R2").collect();
    let heat = heat::map(&r2)
        .map(|map| format!("<h3>Which method keeps which transform: R2</h3>\n{map}"))
        .unwrap_or_default();
    let rest: String = tables.map(table).collect();
    format!("{notes}{first}{bars}{heat}{rest}")
}

/// A table with its notes; every heading is a button.
fn table(table: &Table) -> String {
    let head =
        |text: &str| format!("<th scope=\"col\"><button type=\"button\">{}</button></th>", escaped(text));
    let headings: String =
        std::iter::once(head(table.stub)).chain(table.columns.iter().map(|text| head(text))).collect();
    let rows: String = table.rows.iter().map(row).collect();
    let notes: String = table.notes.iter().map(note).collect();
    format!(
        "<h3>{}</h3>\n<div class=\"scroll\"><table class=\"sortable\">\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n\
         <ul class=\"notes\">{notes}</ul>\n",
        escaped(&table.title)
    )
}

fn note(note: &Note) -> String {
    match note {
        Note::Plain(text) => format!("<li>{}</li>", escaped(text)),
        Note::Warning(text) => format!("<li class=\"warning\"><b>Warning:</b> {}</li>", escaped(text)),
    }
}

fn row(row: &Row) -> String {
    let class = match row.role {
        Role::Contestant => "",
        Role::Floor => " class=\"floor\"",
        Role::Ceiling => " class=\"ceiling\"",
        Role::Reference => " class=\"reference\"",
    };
    let label = escaped(&format!("{}{}", row.label, row.role.suffix()));
    let cells: String = row.entries.iter().map(cell).collect();
    format!("<tr{class}><th scope=\"row\" data-value=\"{label}\">{label}</th>{cells}</tr>\n")
}

/// An entry: the value, and smaller below it what belongs to it.
fn cell(entry: &TableEntry) -> String {
    let class = match (entry, entry.mark()) {
        (TableEntry::Text(text), _) if text.chars().count() > SHORT => " class=\"text\"",
        (_, Mark::None) => "",
        (_, Mark::Second) => " class=\"second\"",
        (_, Mark::Best | Mark::Significant) => " class=\"best\"",
    };
    let value = match entry {
        TableEntry::Estimate { summary, .. } => Some(summary.mean),
        TableEntry::Reported { value, .. } | TableEntry::Number(value) | TableEntry::Probability(value) => {
            Some(*value)
        }
        TableEntry::Difference(difference) => Some(difference.mean),
        TableEntry::Missing | TableEntry::Text(_) => None,
    };
    let value = value.map(|value| format!(" data-value=\"{value}\"")).unwrap_or_default();
    let parts = entry.parts();
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let dagger = if entry.mark() == Mark::Significant { " †" } else { "" };
    let rest =
        if rest.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(&rest.join(" "))) };
    format!("<td{class}{value}><span>{}</span>{dagger}{rest}</td>", escaped(first))
}

/// Why not to trust what follows: the main tables' warnings, and what is not whole.
fn warnings(parts: &[Part], assets: &Assets) -> String {
    let several = parts.len() > 1;
    let mut all: Vec<String> = assets.problems.clone();
    for part in parts {
        let of = if several { format!("{}: ", part.context.title) } else { String::new() };
        // those of the further tables stand under them
        for note in part.tables.first().iter().flat_map(|table| &table.notes) {
            if let Note::Warning(text) = note {
                all.push(format!("{of}{text}"));
            }
        }
    }
    if all.is_empty() {
        return String::new();
    }
    let lines: String = all.iter().map(|text| format!("<li>{}</li>", escaped(text))).collect();
    format!("<div class=\"warnings\" role=\"note\"><h2>Before you read on</h2><ul>{lines}</ul></div>\n")
}

/// The figures whose names begin with one of `prefixes`.
fn figures(assets: &Assets, prefixes: &[&str], class: &str) -> String {
    let wanted =
        assets.figures.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    let figure = |(name, png): &(String, Vec<u8>)| {
        let caption = escaped(&caption(name));
        let photographs = if name.starts_with("segment-") { as_jpeg(png) } else { None };
        let (kind, data) = match photographs {
            Some(jpeg) => ("jpeg", STANDARD.encode(jpeg)),
            None => ("png", STANDARD.encode(png)),
        };
        let image = format!("<img alt=\"{caption}\" src=\"data:image/{kind};base64,{data}\">");
        format!("<figure><figcaption>{caption}</figcaption>{image}</figure>\n")
    };
    let all: String = wanted.map(figure).collect();
    if all.is_empty() { all } else { format!("<div class=\"pictures{class}\">\n{all}</div>\n") }
}

/// Photographs take a tenth of the room that way; none of a file that is no picture.
fn as_jpeg(png: &[u8]) -> Option<Vec<u8>> {
    let picture = image::load_from_memory(png).ok()?.to_rgb8();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&picture).ok()?;
    Some(jpeg)
}

/// What a figure shows, from its file's name.
fn caption(name: &str) -> String {
    let stem = name.strip_suffix(".png").unwrap_or(name);
    let words = stem.replace('-', " ");
    match words.split_once(' ') {
        Some(("reconstruction", rest)) => format!("{rest}: view 1, view 2, view 2 rebuilt from both"),
        Some(("segment", rest)) => format!("{rest}: image, truth, prediction"),
        _ => words,
    }
}

/// Where and how the run was made.
fn provenance(assets: &Assets) -> String {
    let Some(manifest) = &assets.manifest else {
        return "<p>manifest.json is not there or cannot be read: nothing is known of where and how these numbers were made.</p>\n".to_owned();
    };
    let calls = manifest["continued"].as_array().map_or(0, Vec::len);
    let configuration = &manifest["configuration"];
    let lines = [
        lines_of("", &manifest["provenance"]),
        vec![("calls after the first".to_owned(), calls.to_string())],
        lines_of("checksum of the data", &configuration["data"]),
        lines_of("checksum of", &configuration["packs"]),
        lines_of("configuration hash", &manifest["configuration_hash"]),
    ]
    .concat();
    let lines: String = lines
        .iter()
        .map(|(key, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(key), escaped(value)))
        .collect();
    let text = serde_json::to_string_pretty(configuration).unwrap_or_default();
    format!(
        "<dl>{lines}</dl>\n<details><summary>Resolved configuration</summary><pre>{}</pre></details>\n",
        escaped(&text)
    )
}

/// (words, value) of every leaf of `value`, under what `prefix` says.
fn lines_of(prefix: &str, value: &Value) -> Vec<(String, String)> {
    let line = |leaf: Leaf| {
        let words =
            std::iter::once(prefix.to_owned()).chain(leaf.path.iter().map(|key| key.replace('_', " ")));
        let words: Vec<String> = words.filter(|words| !words.is_empty()).collect();
        (words.join(" "), leaf.words.join(", "))
    };
    leaves(value).into_iter().map(line).collect()
}

/// Text as HTML shows it, in attributes too.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
