//! `compare`: exit codes, JSON, JUnit, runs and recorded CSV files.

use std::path::Path;

use serde_json::Value;

use crate::common::{copy, eqr, folder, is_refusal, run_args, stderr, succeeded, tiny_run};

const HEADER: &str =
    "suite,table,dataset,task,method,metric,pretrain_seed,eval_seed,value,unit,better,cell\n";

/// Five seeds of two methods. `shift` is added to the values of `Ours`.
fn record(path: &Path, shift: f64) {
    let mut text = HEADER.to_owned();
    for seed in 0..5 {
        let noise = [0.004, -0.006, 0.001, 0.005, -0.004][seed];
        for (method, value) in [("Ours", 0.6 + shift + noise), ("VICReg", 0.5 - noise)] {
            let first = if shift == 0.0 { seed } else { seed + 5 };
            text += &format!("s,4,photos,rotation,{method},r2_per_output,{first},0,{value},R2,higher,c\n");
        }
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_drop_ends_with_1_and_no_drop_with_0() {
    let folder = folder();
    let here = folder.path();
    record(&here.join("before.csv"), 0.0);
    record(&here.join("worse.csv"), -0.05);
    record(&here.join("better.csv"), 0.05);
    succeeded(&eqr(here, &["compare", "before.csv", "before.csv"]));
    let output = eqr(here, &["compare", "before.csv", "worse.csv", "--json", "--junit", "junit.xml"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("1 of 2 became worse"), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts: Vec<&str> =
        found["lines"].as_array().unwrap().iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!((&found["regressed"], verdicts), (&Value::Bool(true), vec!["regression", "ok"]));
    let junit = std::fs::read_to_string(here.join("junit.xml")).unwrap();
    assert!(
        junit.contains("tests=\"2\" failures=\"1\" skipped=\"0\"") && junit.matches("<failure").count() == 1,
        "{junit}"
    );
    let output = eqr(here, &["compare", "before.csv", "better.csv"]);
    succeeded(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("improvement"));
    // a drop below the tolerance
    succeeded(&eqr(here, &["compare", "before.csv", "worse.csv", "--tolerance", "0.1"]));
}

#[test]
fn runs_of_little_history_and_of_other_definitions() {
    let folder = folder();
    let here = folder.path();
    copy(tiny_run(), &here.join("one"));
    for (out, more) in [("two", ["--seeds", "2"]), ("other", ["--set", "train.epochs=3"])] {
        succeeded(&eqr(here, &run_args(out, &more)));
    }
    let compared = |candidate: &str| {
        let output = eqr(here, &["compare", "one", candidate]);
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let text = compared("two");
    assert!(text.contains("insufficient history") && text.contains("Ours, steps/s"), "{text}");
    let text = compared("other");
    assert!(text.contains("the definition differs") && !text.contains("insufficient"), "{text}");
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = folder();
    let here = folder.path();
    record(&here.join("good.csv"), 0.0);
    std::fs::write(here.join("odd.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(here.join("empty.csv"), HEADER).unwrap();
    std::fs::create_dir(here.join("nothing")).unwrap();
    for (candidate, says) in [
        ("absent", "absent"),
        ("odd.csv", "odd.csv is not a metrics.csv"),
        ("empty.csv", "empty.csv holds no value"),
        ("nothing", "hint: name a run's folder"),
    ] {
        let output = eqr(here, &["compare", "good.csv", candidate]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    assert_eq!(eqr(here, &["compare", "good.csv", "good.csv", "--alpha", "2"]).status.code(), Some(2));
}

#[test]
fn a_value_that_is_no_number_is_named_by_its_line() {
    let folder = folder();
    let here = folder.path();
    record(&here.join("good.csv"), 0.0);
    let text = std::fs::read_to_string(here.join("good.csv")).unwrap();
    // line 5 is the second seed of VICReg
    let line = text.lines().nth(4).unwrap();
    for value in ["NaN", "inf", "-inf"] {
        let odd = line.replacen(",0.506,", &format!(",{value},"), 1);
        assert_ne!(odd, line);
        std::fs::write(here.join("odd.csv"), text.replacen(line, &odd, 1)).unwrap();
        for files in [["good.csv", "odd.csv"], ["odd.csv", "good.csv"]] {
            let output = eqr(here, &[&["compare"], &files[..]].concat());
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
            for part in ["odd.csv: line 5", "photos, VICReg: rotation r2_per_output is", value] {
                assert!(stderr(&output).contains(part), "should say `{part}`: {}", stderr(&output));
            }
        }
    }
    // a value that is not compared does no harm
    let other = text.replacen(line, &line.replace("r2_per_output", "own").replace(",0.506,", ",NaN,"), 1);
    std::fs::write(here.join("odd.csv"), other).unwrap();
    succeeded(&eqr(here, &["compare", "good.csv", "odd.csv"]));
}

/// A folder of recorded runs as a history, as text, JSON and a page.
#[test]
fn a_series_has_a_history() {
    let folder = folder();
    let here = folder.path();
    for (name, more) in [("one", vec![]), ("two", vec!["--set", "train.epochs=3"])] {
        succeeded(&eqr(here, &run_args(name, &more)));
        succeeded(&eqr(here, &["record", name, "--to", "series", "--name", name]));
    }
    let text = eqr(here, &["history", "series", "--html", "series.html"]);
    succeeded(&text);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.starts_with("2 runs, from one to two\n"), "{text}");
    assert!(text.contains("two: another definition") && text.contains("Ours, steps/s"), "{text}");
    let page = std::fs::read_to_string(here.join("series.html")).unwrap();
    assert!(page.contains("History of series") && page.matches("<svg").count() > 2);
    let json: Value = serde_json::from_slice(&eqr(here, &["history", "series", "--json"]).stdout).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2, "{json}");
    // an anchor is one of the runs with the candidate's definition
    let anchored = eqr(here, &["compare", "series", "two", "--anchor", "two", "--json"]);
    succeeded(&anchored);
    assert!(String::from_utf8_lossy(&anchored.stdout).contains("against the anchor"));
    is_refusal(
        &eqr(here, &["compare", "series", "two", "--anchor", "one"]),
        &["no anchor: the recorded runs with the definition of the candidate are [two]", "hint: "],
    );
    is_refusal(&eqr(here, &["history", "one"]), &["one is a single run", "hint: "]);
}
