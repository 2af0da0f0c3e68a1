//! Names, titles and notes that each format could take for its own marks: terminal escapes, HTML, LaTeX,
//! formulas, Markdown, 400 letters, and marks that turn the order of letters. In every format they are text:
//! the report has the structure of one with harmless names.

use std::collections::BTreeSet;

use super::fixture::{context, downstream, probe, rendered, value};
use super::*;
use crate::console::{is_control, one_line};
use crate::run_folder::cell::CellKind;
use crate::run_folder::csv_text::unguarded;
use crate::suite_file::own_claims::OwnClaim;

/// Hostile texts.
fn hostile() -> Vec<String> {
    let short = [
        "\u{1b}[31mred\u{1b}[0m\u{9b}2J\u{7}",
        "=cmd|' /C calc'!A0",
        "@SUM(A1)",
        "-1+2+cmd",
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\" onclick=\"alert(1)\" x=\"",
        "]]></testsuite><!-- &lt;b&gt; &#x3c;",
        "[2ex] 50% \\input{/etc/passwd} $x$ #1 ~ ^_{}",
        "*star",
        "\u{202e}gnp.exe\u{2066}\u{200f}",
        "| a | b |\n## heading\n- item\r\n\tend",
        "**bold** _it_ `code` [a](javascript:b) ![i](http://e/x.png) \\",
        "[x]: http://e/",
        "שלום, 中文",
    ];
    short.iter().map(|&text| text.to_owned()).chain(["x".repeat(400)]).collect()
}

/// A report in which every name, title, note and class is one of these texts.
fn report_of(texts: &[String]) -> (Vec<Cell>, ReportContext) {
    let set = texts.concat();
    let mut cells = Vec::new();
    for method in texts {
        cells.push(probe(method, 0, &[value("rotation", "r2_per_output", 0, 0.5)]));
        cells.push(downstream(CellKind::Transfer, method, 0, &[(&set, "top1", 0.5)]));
        let classes: Vec<String> = texts.iter().map(|class| format!("iou/{class}")).collect();
        let classes = classes.iter().map(|metric| (set.as_str(), metric.as_str(), 0.5));
        let values: Vec<_> = classes.chain([(set.as_str(), "mIoU", 0.5)]).collect();
        cells.push(downstream(CellKind::Segment, method, 0, &values));
    }
    let (first, second) = (texts[0].clone(), texts[9].clone());
    let claim = OwnClaim { first, second, task: "rotation".to_owned(), metric: None, margin: 0.0 };
    let methods: Vec<&str> = texts.iter().map(String::as_str).collect();
    let context = ReportContext {
        title: texts.concat(),
        notes: texts.to_vec(),
        claims: vec![claim],
        transfers: vec![TransferColumn { dataset: set.clone(), metric: "top1".to_owned() }],
        segmentations: vec![set],
        ..context(&["rotation"], &methods)
    };
    (cells, context)
}

/// The hostile report and a harmless one of the same shape.
fn both(format: &str) -> [String; 2] {
    let harmless: Vec<String> = (0..hostile().len()).map(|i| format!("name {i:02}")).collect();
    [hostile(), harmless].map(|texts| {
        let (cells, context) = report_of(&texts);
        rendered(&cells, &context, format)
    })
}

#[test]
fn no_format_has_control_characters() {
    // a cell of CSV may have a tab
    let is_hidden = |c: char| is_control(c) && !matches!(c, '\n' | '\t');
    for format in FORMATS {
        let [text, _] = both(format.name());
        let found = text.chars().find(|&c| is_hidden(c));
        assert_eq!(found, None, "{}", format.name());
        assert!(text.contains("u001b[31m") && text.contains("u202e"), "{}: they are shown", format.name());
    }
    let (cells, _) = report_of(&hostile());
    let text = metrics_csv::metrics(&cells).unwrap();
    assert_eq!(text.chars().find(|&c| is_hidden(c)), None);
}

#[test]
fn colours_are_the_only_control_characters_of_a_terminal() {
    let (cells, context) = report_of(&hostile());
    let (folder, contexts) = (RunFolder::new("nowhere"), [&context]);
    let look = Look { colours: true, width: Some(80), ascii: false };
    let text = Report { look, ..Report::new(&folder, &cells, &contexts) }.render(formats::TERMINAL).unwrap();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        assert!(!before.contains(|c: char| is_control(c) && c != '\n'), "{before:?}");
        let letters: String = after.chars().take_while(|c| *c != 'm').collect();
        assert!(
            letters.starts_with('[') && letters[1..].chars().all(|c| c.is_ascii_digit() || c == ';'),
            "{letters:?}"
        );
        rest = after;
    }
    assert!(!rest.contains(|c: char| is_control(c) && c != '\n') && text.contains("u001b[31m"));
}

#[test]
fn long_names_do_not_widen_a_terminal() {
    let [text, _] = both("terminal");
    let longest = text.lines().map(|line| line.matches('x').count()).max().unwrap();
    // a sentence that holds such a name is broken at spaces only
    let in_grid =
        text.lines().filter(|line| line.contains("0.500")).map(|line| line.matches('x').count()).max();
    assert!(longest >= 400 && in_grid <= Some(100), "{longest} {in_grid:?}");
}

/// The cells of a line of a table of Markdown.
fn cells_of_line(line: &str) -> Vec<String> {
    let (mut cells, mut is_escaped) = (vec![String::new()], false);
    for c in line.trim_matches('|').chars() {
        match c {
            '|' if !is_escaped => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    cells
}

#[test]
fn markdown_has_neither_html_nor_links_nor_further_blocks() {
    let [text, harmless] = both("markdown");
    let kinds = |text: &str| -> Vec<String> {
        let kind = |line: &str| match line {
            line if line.starts_with("| ") => format!("{} cells", cells_of_line(line).len()),
            line => line.chars().take_while(|c| !c.is_alphanumeric() && *c != '\\').collect::<String>(),
        };
        // the first letters of an item may be any that begin no block
        text.lines().map(|line| if line.starts_with("- ") { "- ".to_owned() } else { kind(line) }).collect()
    };
    assert_eq!(kinds(&text), kinds(&harmless));
    for (at, _) in text.match_indices('<') {
        let next = text[at + 1..].chars().next().unwrap_or(' ');
        assert!(!next.is_alphabetic() && !matches!(next, '/' | '!' | '?'), "{}", &text[at..at + 20]);
    }
    for marks in ["](", "]:", "][", "- #", "- - ", "- ["] {
        assert!(!text.contains(marks), "{marks}");
    }
}

#[test]
fn csv_has_no_formulas_and_gives_the_names_back() {
    let (cells, _) = report_of(&hostile());
    let [tables, harmless] = both("csv");
    let records = |text: &str| -> Vec<csv::StringRecord> {
        csv::Reader::from_reader(text.as_bytes()).into_records().map(|record| record.unwrap()).collect()
    };
    assert_eq!(records(&tables).len(), records(&harmless).len());
    let metrics = metrics_csv::metrics(&cells).unwrap();
    for text in [&tables, &metrics] {
        let mut found = BTreeSet::new();
        for record in records(text) {
            for cell in &record {
                let is_number = cell.parse::<f64>().is_ok();
                let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell != "-";
                assert!(is_number || !is_formula, "{cell}");
                found.insert(one_line(unguarded(cell)).into_owned());
            }
        }
        for name in hostile() {
            assert!(found.contains(&*one_line(&name)), "{name:?}");
        }
    }
}

/// Every tag of a page with the names of its attributes.
fn tags(page: &str) -> Vec<String> {
    let tag = |rest: &str| {
        let inside = &rest[..rest.find('>').expect("a tag ends")];
        let attributes = inside.split('"').step_by(2).map(str::trim);
        attributes.collect::<Vec<_>>().join(" ")
    };
    page.split('<').skip(1).map(tag).collect()
}

#[test]
fn html_has_no_element_or_attribute_of_a_text() {
    let [page, harmless] = both("html");
    assert_eq!(tags(&page), tags(&harmless));
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&quot; onclick=&quot;"));
}

#[test]
fn json_gives_the_names_back() {
    let [text, _] = both("json");
    let _: serde_json::Value = serde_json::from_str(&text).unwrap();
}

#[test]
fn latex_rows_begin_with_no_bracket_and_have_as_many_cells() {
    let [text, harmless] = both("latex");
    let shape = |text: &str| -> Vec<(usize, bool)> {
        let unescaped = |line: &str| line.matches('&').count() - line.matches("\\&").count();
        text.lines().map(|line| (unescaped(line), line.starts_with(['[', '*']))).collect()
    };
    assert_eq!(shape(&text), shape(&harmless));
    assert!(!text.contains("\\input") && !text.contains("$x$"), "{text}");
}
