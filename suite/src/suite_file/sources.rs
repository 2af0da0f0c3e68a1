//! What a suite was read from: a file and options of the command line. Says of each mistake where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::suite_file::key_path::KeyPath;
use crate::suite_file::overrides::Override;
use crate::suite_file::problem::Problem;

/// The file and the options.
pub struct Sources<'a> {
    /// Name of the file or preset.
    pub origin: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Keys of the command line.
    pub overrides: &'a [Override],
}

/// Where a mistake stands.
#[derive(Debug, PartialEq)]
enum Place {
    /// Nowhere in particular.
    File,
    /// In the file.
    Line(Range<usize>),
    /// In this option of the command line.
    Option(&'static str),
}

impl Place {
    fn order(&self) -> (u8, usize) {
        match self {
            Place::File => (0, 0),
            Place::Line(span) => (1, span.start),
            Place::Option(_) => (2, 0),
        }
    }

    /// The message after the line or the option.
    fn describe(&self, text: &str, message: &str) -> String {
        match self {
            Place::File => message.to_owned(),
            Place::Line(span) => format!("{}\n{message}", marked_line(text, span.clone())),
            Place::Option(option) => format!("{option}: {message}"),
        }
    }
}

impl Sources<'_> {
    /// All problems in one message: those of the file by their lines, then those of options. `data_set` is
    /// the position of a problem's data set in a list `[[data]]`. What several data sets have in common is
    /// said once.
    pub fn message(&self, problems: &[(Option<usize>, Problem)]) -> String {
        let mut found: Vec<(Place, &str)> = problems
            .iter()
            .map(|(data_set, problem)| (self.place(*data_set, problem), &*problem.message))
            .collect();
        found.sort_by(|(a, one), (b, other)| a.order().cmp(&b.order()).then(one.cmp(other)));
        found.dedup();
        let described: Vec<String> =
            found.iter().map(|(place, message)| place.describe(self.text, message)).collect();
        match (&described[..], &found[0].0) {
            ([only], Place::Option(_)) => only.clone(),
            ([only], _) => format!("{}: {only}", self.origin),
            (several, _) => {
                format!("{}: {} mistakes\n\n{}", self.origin, several.len(), several.join("\n\n"))
            }
        }
    }

    fn place(&self, data_set: Option<usize>, problem: &Problem) -> Place {
        match (self.option(problem), self.span(data_set, &problem.key)) {
            (Some(option), _) => Place::Option(option),
            (None, Some(span)) => Place::Line(span),
            // a section that the file does not have comes from the option that names a key of it
            (None, None) => self.option_below(problem).map_or(Place::File, Place::Option),
        }
    }

    /// The last option that set the key.
    fn option(&self, problem: &Problem) -> Option<&'static str> {
        let sets = |set: &&Override| problem.key.is_within(&set.key);
        self.overrides.iter().rev().find(sets).map(|set| set.option)
    }

    /// The last option that set a key below the problem's.
    fn option_below(&self, problem: &Problem) -> Option<&'static str> {
        let is_section = !problem.key.segments().is_empty();
        let sets = |set: &&Override| is_section && set.key.is_within(&problem.key);
        self.overrides.iter().rev().find(sets).map(|set| set.option)
    }

    /// Where the key stands in the file, or else the innermost section that it belongs to.
    fn span(&self, data_set: Option<usize>, key: &KeyPath) -> Option<Range<usize>> {
        let file = DeTable::parse(self.text).ok()?;
        let mut key = Some(key.clone());
        while let Some(here) = key.filter(|key| !key.segments().is_empty()) {
            let found = places(data_set, &here).iter().find_map(|place| find(file.get_ref(), place));
            if found.is_some() {
                return found;
            }
            // an item that the file does not have comes from the command line
            let is_item = here.segments().last().is_some_and(|last| last.parse::<usize>().is_ok());
            key = here.parent().filter(|_| !is_item);
        }
        None
    }
}

/// Where a key of one of several data sets can stand in the file.
fn places(data_set: Option<usize>, key: &KeyPath) -> Vec<Vec<String>> {
    let own = key.segments().to_vec();
    let Some(index) = data_set else { return vec![own] };
    let of_set = ["data".to_owned(), index.to_string()];
    match own.split_first() {
        Some((first, rest)) if first == "data" => vec![[&of_set[..], rest].concat()],
        _ => vec![[&of_set[..], &["set".to_owned()], &own].concat(), own],
    }
}

/// The span of a key, or of an item of a list.
fn find(table: &DeTable, path: &[String]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    if rest.is_empty() { Some(key.span()) } else { find_in_value(value, rest) }
}

fn find_in_value(value: &Spanned<DeValue>, path: &[String]) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Table(table) => find(table, path),
        DeValue::Array(items) => {
            let (index, rest) = path.split_first()?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            if rest.is_empty() { Some(item.span()) } else { find_in_value(item, rest) }
        }
        _ => None,
    }
}

/// Line and column, the line itself, and marks under the span, as TOML's own errors have them.
fn marked_line(text: &str, span: Range<usize>) -> String {
    let start = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let number = text[..start].matches('\n').count() + 1;
    let before = &text[start..span.start];
    let marked = text[span.start..span.end.min(start + line.len())].chars().count().max(1);
    let gutter = " ".repeat(number.to_string().len());
    let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    format!(
        "line {number}, column {}\n{gutter} |\n{number} | {line}\n{gutter} | {indent}{}",
        before.chars().count() + 1,
        "^".repeat(marked)
    )
}
