//! `merge`: encoders that were measured in several runs, in one leaderboard.

use std::path::Path;

use serde_json::Value;
use tch::Tensor;

use crate::common::{colour_map, eqr, folder, is_refusal, photographs, succeeded, tiny_on, traced};

/// A suite on photographs, three modules, two of them with random weights beside them.
fn prepare(here: &Path) {
    photographs(here);
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"photographs\"\nside = 16\n\n\
                [transforms]\nactive = [\"color\", \"flip\"]\n\n";
    std::fs::write(here.join("suite.toml"), tiny_on(data)).unwrap();
    let grey =
        |images: &Tensor| colour_map(&images.mean_dim([1i64].as_slice(), true, None).expand_as(images));
    traced(&here.join("colours.pt"), 16, colour_map);
    traced(&here.join("colours.random.pt"), 16, grey);
    traced(&here.join("thirds.pt"), 16, |images| colour_map(&(images * images)));
    traced(&here.join("thirds.random.pt"), 16, grey);
    traced(&here.join("bare.pt"), 16, colour_map);
}

fn run(here: &Path, out: &str, more: &[&str]) {
    let args =
        ["run", "suite.toml", "--data-root", ".", "--threads", "1", "--precision", "fp32", "--out", out];
    succeeded(&eqr(here, &[&args, more].concat()));
}

/// The lines of a run's `metrics.csv`, sorted.
fn metrics(here: &Path, run: &str) -> Vec<String> {
    let text = std::fs::read_to_string(here.join(run).join("metrics.csv")).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn rows_of_several_runs_stand_in_one_leaderboard() {
    let folder = folder();
    let here = folder.path();
    prepare(here);
    run(here, "one", &["--methods", "", "--external", "Colours=colours.pt"]);
    let others = ["--external", "Thirds=thirds.pt", "--external", "Bare=bare.pt"];
    run(here, "two", &[&["--methods", "Random init"], &others[..]].concat());
    let merged = eqr(here, &["merge", "one", "two", "--out", "both"]);
    succeeded(&merged);
    let text = String::from_utf8(merged.stdout).unwrap();
    assert!(text.contains("Leaderboard") && text.contains("one: Colours; Colours, random weights"), "{text}");

    let mut of_both = [metrics(here, "one"), metrics(here, "two")].concat();
    of_both.sort();
    assert_eq!(metrics(here, "both"), of_both, "every value is copied as it is");
    succeeded(&eqr(here, &["verify", "both"]));
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(here.join("both/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["merged"][0]["run"], "one");
    assert_eq!(manifest["merged"][1]["rows"][0], "Bare");
    assert!(manifest["merged"][1]["provenance"]["started"].is_string());

    let table = eqr(here, &["report", "both", "--only", "leaderboard", "--format", "csv"]);
    succeeded(&table);
    let table = String::from_utf8(table.stdout).unwrap();
    let rows: std::collections::BTreeSet<&str> =
        ["Colours", "Thirds", "Bare", "Random init"].into_iter().filter(|row| table.contains(row)).collect();
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), ["Colours", "Thirds"], "those with a floor: {table}");

    // the merged run goes on as one
    run(
        here,
        "both",
        &[&["--methods", "Random init", "--external", "Colours=colours.pt"], &others[..]].concat(),
    );
    assert_eq!(metrics(here, "both"), of_both);
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let folder = folder();
    let here = folder.path();
    prepare(here);
    run(here, "one", &["--methods", "", "--external", "Colours=colours.pt"]);
    run(here, "same-name", &["--methods", "", "--external", "Colours=thirds.pt"]);
    run(here, "few", &["--methods", "", "--external", "Thirds=thirds.pt", "--set", "probe.test_pairs=40"]);
    let refused = |runs: [&str; 2], says: &[&str]| {
        is_refusal(&eqr(here, &["merge", runs[0], runs[1], "--out", "both"]), says);
        assert!(!here.join("both").exists());
    };
    refused(["one", "same-name"], &["have different values", "another name"]);
    refused(["one", "few"], &["suite.probe.test_pairs", "and 40", "do not measure alike"]);
    refused(["one", "absent"], &["absent holds no run"]);
    is_refusal(&eqr(here, &["merge", "one", "few", "--out", "one"]), &["one already exists"]);
    is_refusal(&eqr(here, &["merge", "one", "--out", "both"]), &["2 values required"]);
    let left: Vec<_> = std::fs::read_dir(here).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".merging")), "{left:?}");
}
