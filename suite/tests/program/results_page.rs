//! docs/results.md against the records: every number of a sentence is derived from a record again, and every
//! row of a table stands in a record's tables.
//!
//! A comment after a paragraph says where its numbers come from, one line a number or estimate:
//!
//! ```text
//! <!-- numbers
//! quickstart | color | SIE(rot+color) - VICReg | 0.272 [0.175, 0.369]
//! quickstart-10-seeds | rotation | SIE(rot) - VICReg | 0.072 [0.040, 0.104] | seeds 3 to 9
//! quickstart | reconstruction mse_own | Ours | 0.266
//! -->
//! ```
//!
//! The parts are the record's folder, the task (with a metric, if it is not the headline), a row or the
//! difference of two rows paired by seed, the text as it stands in the paragraph, and the pretraining seeds
//! if not all. A p value needs no such line; some record's table has to show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eqr_bench::registry::TaskFamily;
use eqr_probes::stats::{Summary, paired};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/reference");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/results.md");

/// A block of lines of the page.
struct Paragraph {
    lines: Vec<String>,
    /// The lines of the comment that follows.
    numbers: Vec<String>,
}

fn paragraphs(page: &str) -> Vec<Paragraph> {
    let mut all: Vec<Paragraph> = Vec::new();
    for block in page.split("\n\n") {
        let lines = || block.lines().map(str::to_owned);
        match block.strip_prefix("<!-- numbers\n") {
            Some(_) => {
                let numbers = lines().skip(1).take_while(|line| line != "-->").collect();
                all.last_mut().expect("a paragraph before its numbers").numbers = numbers;
            }
            None => all.push(Paragraph { lines: lines().collect(), numbers: Vec::new() }),
        }
    }
    all
}

/// The mean over the probe seeds of every pretraining seed.
fn by_seed(record: &str, task: &str, metric: &str, row: &str) -> BTreeMap<u64, f64> {
    let path = Path::new(REFERENCE).join(record).join("metrics.csv");
    let mut reader =
        csv::Reader::from_path(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for line in reader.records().map(Result::unwrap) {
        if (&line[3], &line[4], &line[5]) == (task, row, metric) {
            values.entry(line[6].parse().unwrap()).or_default().push(line[8].parse().unwrap());
        }
    }
    assert!(!values.is_empty(), "{record}: no {task} {metric} of {row}");
    values.into_iter().map(|(seed, draws)| (seed, draws.iter().sum::<f64>() / draws.len() as f64)).collect()
}

/// `value` in as many decimals as `like` has.
fn written_as(value: f64, like: &str) -> String {
    let decimals = like.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let text = format!("{value:.decimals$}");
    let text = if text.trim_start_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text };
    if like.starts_with('+') && value >= 0.0 { format!("+{text}") } else { text }
}

/// The numbers of a text, with their signs.
fn decimals(text: &str) -> Vec<String> {
    let inside = |c: char| c.is_ascii_digit() || ['.', '-', '+'].contains(&c);
    let words = text.split(|c| !inside(c)).map(|word| word.trim_end_matches('.'));
    words
        .filter(|word| word.contains('.') && word.ends_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

fn check(line: &str, prose: &str) -> Result<(), String> {
    let parts: Vec<&str> = line.split(" | ").collect();
    let [record, measured, rows, text, rest @ ..] = &parts[..] else {
        return Err("expected record | task | row | text".into());
    };
    if !prose.contains(text) {
        return Err(format!("`{text}` is not in the paragraph"));
    }
    let (task, metric) =
        measured.split_once(' ').unwrap_or((measured, TaskFamily::of_task(measured).headline().metric));
    let seeds = match rest {
        [] => 0..=u64::MAX,
        [seeds] => {
            let bounds = seeds.strip_prefix("seeds ").and_then(|seeds| seeds.split_once(" to "));
            let (first, last) = bounds.ok_or("expected `seeds A to B`")?;
            first.parse().unwrap()..=last.parse().unwrap()
        }
        _ => return Err("too many parts".into()),
    };
    let values = |row: &str| -> Vec<f64> {
        by_seed(record, task, metric, row)
            .into_iter()
            .filter(|(seed, _)| seeds.contains(seed))
            .map(|(_, v)| v)
            .collect()
    };
    let (mean, interval) = match rows.split_once(" - ") {
        Some((first, second)) => {
            let difference = paired(&values(first), &values(second)).map_err(|error| error.to_string())?;
            (difference.mean, difference.ci95)
        }
        None => {
            let summary = Summary::from_values(&values(rows)).map_err(|error| error.to_string())?;
            (summary.mean, summary.ci95)
        }
    };
    let written = decimals(text);
    let derived: Vec<f64> =
        std::iter::once(mean).chain(interval.into_iter().flat_map(|(low, high)| [low, high])).collect();
    if written.len() != 1 && written.len() != derived.len() {
        return Err(format!("`{text}` has {} numbers", written.len()));
    }
    for (written, derived) in written.iter().zip(derived) {
        let expected = written_as(derived, written);
        if *written != expected {
            return Err(format!("the record gives {expected}, the page says {written}"));
        }
    }
    Ok(())
}

#[test]
fn numbers_in_sentences_are_those_of_the_records() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (recorded, mut wrong) = (recorded_rows(), Vec::new());
    for Paragraph { lines, numbers } in paragraphs(&page) {
        let is_prose = |line: &&String| !line.starts_with('|') && !line.starts_with("![");
        let prose = lines.iter().filter(is_prose).map(String::as_str).collect::<Vec<_>>().join(" ");
        let prose = prose.split_whitespace().collect::<Vec<_>>().join(" ");
        if lines.first().is_some_and(|line| line.starts_with("```")) {
            continue;
        }
        for line in &numbers {
            if let Err(reason) = check(line, &prose) {
                wrong.push(format!("{line}: {reason}"));
            }
        }
        let derived: Vec<String> =
            numbers.iter().flat_map(|line| decimals(line.split(" | ").nth(3).unwrap_or(""))).collect();
        let loose = decimals(&prose)
            .into_iter()
            .filter(|number| !derived.contains(number) && !is_p_value(&prose, number, &recorded));
        wrong.extend(loose.map(|number| format!("{number} has no source: {prose:.80}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether `number` stands after `p` in the prose, and is a p value in a record's tables.
fn is_p_value(prose: &str, number: &str, recorded: &[Vec<String>]) -> bool {
    let called_p = ["p ", "p = ", "p < "].iter().any(|before| prose.contains(&format!("{before}{number}")));
    let is_this = |cell: &String| {
        let value = cell.trim_start_matches('<').parse();
        cell.starts_with(['0', '<']) && value.is_ok_and(|value: f64| written_as(value, number) == *number)
    };
    called_p && recorded.iter().flatten().any(is_this)
}

/// The rows of a table in the page are rows of a table of some record.
#[test]
fn tables_are_those_of_the_records() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let recorded = recorded_rows();
    let estimates = page.lines().filter(|line| line.starts_with('|') && line.contains('±'));
    let mut count = 0;
    for line in estimates {
        assert!(recorded.contains(&cells(line)), "no record has the row {line}");
        count += 1;
    }
    assert!(count > 0, "the page has tables");
}

/// The cells of a row of a Markdown table.
fn cells(line: &str) -> Vec<String> {
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The rows of the tables of all records.
fn recorded_rows() -> Vec<Vec<String>> {
    let texts =
        markdown_tables(Path::new(REFERENCE)).into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(cells).collect::<Vec<_>>()).collect()
}

/// The Markdown tables of all records.
fn markdown_tables(folder: &Path) -> Vec<PathBuf> {
    let tables = |record: PathBuf| std::fs::read_dir(record.join("tables")).into_iter().flatten().flatten();
    let records = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let files = records.flat_map(tables).map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}
