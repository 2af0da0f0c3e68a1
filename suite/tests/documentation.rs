//! The documents hold together: links lead somewhere, the summary has every page, and every environment
//! variable of the project is explained. The tests only read files, so they link no crate of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the sources are that may read an environment variable.
const SOURCES: [&str; 8] =
    ["suite", "models", "probes", "datasets", "scripts", "jobscripts", "Makefile", ".ci"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite is a member")
}

/// All files below `path`, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().flat_map(|entry| files(&entry.path())).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "md")
}

/// The documents that are written by hand, and the generated reference.
fn documents() -> Vec<PathBuf> {
    let named = ["README.md", "CONTRIBUTING.md"].map(|name| workspace().join(name));
    let docs = files(&workspace().join("docs")).into_iter().filter(|path| is_markdown(path));
    named.into_iter().chain(docs).collect()
}

/// The lines of a document outside its code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    let outside = move |(_, line): &(usize, &str)| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    };
    (1..).zip(text.lines()).filter(outside)
}

/// The targets of the links and pictures in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchors of a document: its headings in lower case, without punctuation, words joined by dashes.
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let headings = prose(text).filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in prose(&text) {
            for target in targets(line).filter(|target| !target.contains("://")) {
                count += 1;
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file =
                    if path.is_empty() { document.clone() } else { document.with_file_name("").join(path) };
                let found = file.exists()
                    && (anchor.is_empty() || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor));
                if !found {
                    broken.push(format!("{}:{number}: {target}", document.display()));
                }
            }
        }
    }
    assert!(count > 50, "the documents link to each other: {count}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_summary_has_every_page() {
    let docs = workspace().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = summary.lines().flat_map(targets).map(|page| docs.join(page)).collect();
    let pages = files(&docs).into_iter().filter(|path| is_markdown(path) && !path.ends_with("SUMMARY.md"));
    assert_eq!(listed, pages.collect());
}

/// The names in `text` that begin like a variable of this project.
fn variables(text: &str) -> BTreeSet<&str> {
    const PREFIX: &str = "EQR_";
    let begins = text.match_indices(PREFIX).map(|(start, _)| &text[start..]);
    let name = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
    begins.map(|rest| &rest[..name(rest)]).filter(|name| name.len() > PREFIX.len()).collect()
}

#[test]
fn every_environment_variable_is_explained_and_no_other() {
    let troubleshooting = fs::read_to_string(workspace().join("docs/troubleshooting.md")).unwrap();
    let (_, table) = troubleshooting.split_once("## Environment variables").unwrap();
    let sources = SOURCES.iter().flat_map(|folder| files(&workspace().join(folder)));
    let texts: Vec<String> = sources.filter_map(|path| fs::read_to_string(path).ok()).collect();
    let used: BTreeSet<&str> = texts.iter().flat_map(|text| variables(text)).collect();
    assert_eq!(variables(table), used);
}
