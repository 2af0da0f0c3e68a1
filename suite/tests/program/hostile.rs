//! Names of files, suites and results that a terminal, a page, LaTeX, a spreadsheet or a CI server would take
//! for something else than text.

use std::fs;
use std::path::Path;
use std::process::Command;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::common::{
    PROGRAM, TINY, class_folders, eqr, folder, is_installed, output, run_args, stderr, succeeded,
};
use crate::skip::skip;

/// Names without control characters, which a suite file may have.
fn names() -> Vec<String> {
    let short = [
        "=cmd|' /C calc'!A0",
        "@SUM(A1)",
        "<script>alert(1)</script>",
        "\" onclick=\"alert(1)\"",
        "]]></testsuite> &lt;",
        "[2ex] 50% \\input{/etc/passwd} $x$ #1 ~^_{}",
        "*star -- ,, ``",
        "| a | **b** [c](javascript:d)",
        "UTF שלום 中文 ĸŉŦħ ŀ €…",
    ];
    short.map(str::to_owned).into_iter().chain(["x".repeat(400)]).collect()
}

/// A finished run whose rows have these names, measured elsewhere; its data set, title and notes have them
/// too.
fn run(here: &Path) {
    let names = names();
    let text = |name: &String| serde_json::to_string(name).unwrap();
    let list = names.iter().map(text).collect::<Vec<_>>().join(", ");
    let data_set = names[..3].concat();
    let head = TINY
        .replace("\"A tiny suite\"", &format!("{}\nnotes = [{list}]", text(&names.concat())))
        .replace("methods = [\"Random init\", \"Ours\"]", "methods = [\"Random init\"]")
        .replace("name = \"solids\"", &format!("name = {}", text(&data_set)));
    let row = |name: &String| {
        format!("\n[[rows]]\nmethod = \"external\"\nname = {}\nmetrics = \"r.csv\"\n", text(name))
    };
    fs::write(here.join("tiny.toml"), head + &names.iter().map(row).collect::<String>()).unwrap();
    let mut results = csv::Writer::from_path(here.join("r.csv")).unwrap();
    results.write_record(["dataset", "task", "method", "metric", "value"]).unwrap();
    for name in &names {
        results.write_record([&data_set, "rotation", name, "r2_per_output", "0.25"]).unwrap();
    }
    results.flush().unwrap();
    succeeded(&eqr(here, &run_args("run", &[])));
}

fn has_control_characters(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

#[test]
fn a_run_with_hostile_names_is_reported_in_every_format() {
    let folder = folder();
    let here = folder.path();
    run(here);
    let run = here.join("run");
    let markdown = fs::read_to_string(run.join("tables/table-main.md")).unwrap();
    assert!(markdown.contains("&lt;script>") && !markdown.contains("<script"), "{markdown}");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"), "names are no HTML");
    for file in ["metrics.csv", "tables/table-main.csv"] {
        let mut csv = csv::Reader::from_path(run.join(file)).unwrap();
        let mut formulas = 0;
        for cell in
            csv.records().flat_map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
        {
            let begins = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!begins || cell == "-" || cell.parse::<f64>().is_ok(), "{file}: {cell}");
            formulas += usize::from(cell.starts_with("'="));
        }
        assert!(formulas > 0, "{file} has the row with a formula's name");
    }

    // what was written for spreadsheets is read as it was
    succeeded(&eqr(here, &["compare", "run/metrics.csv", "run", "--junit", "junit.xml"]));
    let junit = fs::read_to_string(here.join("junit.xml")).unwrap();
    let mut xml = Reader::from_str(&junit);
    let mut cases = Vec::new();
    loop {
        match xml.read_event().expect("well-formed") {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "testcase" => {
                let attribute = tag.try_get_attribute("name").unwrap().unwrap();
                cases.push(
                    attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned(),
                );
            }
            _ => {}
        }
    }
    for name in names() {
        assert!(cases.iter().any(|case| case.ends_with(&format!(", {name}"))), "{name} in {cases:?}");
    }

    for format in ["terminal", "markdown", "latex", "csv", "html", "json"] {
        let output = eqr(here, &["report", "run", "--format", format]);
        succeeded(&output);
        assert!(!has_control_characters(&String::from_utf8(output.stdout).unwrap()), "{format}");
    }
    if !is_installed("pdflatex") {
        return skip("latex", "no pdflatex on this machine: the tables were not set");
    }
    let set = Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "run/tables/table-main.tex"])
        .current_dir(here)
        .output()
        .unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stdout));
}

#[test]
fn control_characters_are_refused_in_suites_and_shown_in_messages() {
    let folder = folder();
    let here = folder.path();
    let refused = |arguments: &[&str], says: &[&str]| {
        let output = eqr(here, arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!has_control_characters(&text), "{text:?}");
        for part in says {
            assert!(text.contains(part), "should say `{part}`: {text}");
        }
    };
    for (name, title, says) in [
        ("raw.toml", "A \u{202e} suite", "raw.toml: line 3, column 12: control character U+202E"),
        (
            "escape.toml",
            "A \\u001b[2J suite",
            "escape.toml: line 3, column 9: control character U+001B in this text",
        ),
    ] {
        fs::write(here.join(name), TINY.replace("A tiny suite", title)).unwrap();
        refused(&["run", name, "--out", "run"], &[says, "hint: "]);
    }
    refused(&run_args("run", &["--set", "title=a\u{1b}[2J"]), &["--set title: control character U+001B"]);
    refused(
        &run_args("run", &["--external", "a\u{9b}=r.csv"]),
        &["the name of a row: control character U+009B"],
    );
    assert!(!here.join("run").exists());

    // names in the files of others
    fs::write(here.join("r.csv"), "dataset,task,metric,value\nd\u{1b}[2J,c\u{202e},r2,0.5\n").unwrap();
    let row = run_args("run", &["--methods", "", "--external", "X=r.csv"]);
    refused(&row, &["no row of `X`", "c\\u202e on d\\u001b[2J"]);
    class_folders(here, "photos", 2, 4, |_| (8, 8));
    fs::write(here.join("photos/class 1/\u{1b}]0;title\u{7}.png"), "no picture").unwrap();
    refused(&["data", "pack", "class-folders", "photos", "--out", "p.h5"], &["\\u001b]0;title\\u0007.png"]);
}

#[test]
fn a_limit_on_threads_is_told_before_the_work() {
    let folder = folder();
    let here = folder.path();
    // root has no such limit
    let limited = |limit: usize, arguments: &[&str]| {
        let limit = format!("--nproc={limit}");
        let user = [&limit, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM];
        output(Command::new("prlimit").args(user).args(arguments).current_dir(here))
    };
    fs::set_permissions(here, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let can = is_installed("prlimit")
        && is_installed("setpriv")
        && limited(1000, &["data", "list"]).status.success();
    if !can {
        return skip("setpriv", "no way to run as a user with a limit on processes");
    }
    class_folders(here, "photos", 2, 4, |_| (8, 8));
    let pack = ["data", "pack", "class-folders", "photos", "--out", "p.h5"];
    let mut run = run_args("run", &[]);
    let threads = run.iter().position(|argument| *argument == "--threads").expect("tests set it");
    run[threads + 1] = "16";
    for arguments in [run, pack.to_vec(), [&pack[..], &["--threads", "16"]].concat()] {
        // the launcher's look at the libraries takes one process besides its own
        let output = limited(2, &arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("error: no further thread can be started: "), "{text}");
        assert!(text.contains("ulimit -u") && !text.contains("panicked"), "{text}");
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
    }
}
