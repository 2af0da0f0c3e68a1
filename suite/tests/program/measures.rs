//! What a run measures besides the headline metrics: halves of y, linear probes, canonical quaternions,
//! similarity and effective rank.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::common::{
    class_folders, colour_map, eqr, folder, photographs, stderr, succeeded, tiny_on, traced,
};

/// Values of a run by task and metric, of the first probe seed or of cells without one.
fn metrics(run: &Path) -> BTreeMap<(String, String), f64> {
    let mut reader = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    let rows = reader.records().map(Result::unwrap);
    let first = rows.filter(|row| row[7].is_empty() || &row[7] == "0");
    first.map(|row| ((row[3].to_owned(), row[5].to_owned()), row[8].parse().unwrap())).collect()
}

/// The same probes on test pairs from ranges that they were not trained on: on the command line, and in a
/// run.
#[test]
fn probes_are_also_tested_on_shifted_ranges() {
    let folder = folder();
    let here = folder.path();
    photographs(here);
    traced(&here.join("map.pt"), 16, colour_map);
    let probe = |more: &[&str]| {
        let fixed = [
            "probe",
            "--encoder",
            "map.pt",
            "--size",
            "16",
            "--data",
            "photos.h5",
            "--transforms",
            "flip,color",
            "--train-pairs",
            "140",
            "--test-pairs",
            "54",
            "--epochs",
            "4",
            "--hidden",
            "16",
            "--batch",
            "16",
            "--seeds",
            "2",
            "--threads",
            "1",
        ];
        eqr(here, &[&fixed[..], more].concat())
    };
    let json = |output: Output| -> Value {
        succeeded(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plain = json(probe(&["--json"]));
    let darker = json(probe(&["--json", "--shift", "brightness=0.1..0.3,hue=0.3..0.5"]));
    let r2 = |of: &Value, probe: &str| of[probe]["r2_per_output"].as_f64().unwrap();
    let alike = |a: &Value, b: &Value| {
        for probe in ["mlp", "linear"] {
            assert!((r2(a, probe) - r2(b, probe)).abs() < 1e-4, "{probe}: {a} {b}");
        }
    };
    for target in ["color", "flip"] {
        alike(&plain["targets"][target], &darker["targets"][target]);
    }
    let shifted = &darker["targets"]["color"]["shifted"];
    assert!(r2(shifted, "linear") < r2(&plain["targets"]["color"], "linear") - 0.1, "{darker}");
    assert!(shifted["mlp"]["ci95"]["r2_per_output"][0].is_number(), "{shifted}");
    assert!(darker["targets"]["flip"]["shifted"].is_null(), "flips have no other range");
    // the ordinary ranges, as a shift: the same pairs
    let same = "brightness=0.6..1.4,contrast=0.6..1.4,saturation=0.6..1.4,hue=0..0.1";
    let same = json(probe(&["--json", "--shift", same]));
    alike(&same["targets"]["color"], &same["targets"]["color"]["shifted"]);
    let table = probe(&["--shift", "brightness=0.1..0.3"]);
    succeeded(&table);
    assert!(String::from_utf8(table.stdout).unwrap().contains("| MLP, shifted"));
    for (shift, says) in [
        ("rotation=10..20", "a range of rotation, which is not in --transforms"),
        ("brightness=3..1", "low < high"),
        ("zoom=1..2", "the quantities are rotation"),
    ] {
        let output = probe(&["--shift", shift]);
        assert!(output.status.code() == Some(2) && stderr(&output).contains(says), "{}", stderr(&output));
    }

    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nside = 16\n\n[transforms]\nactive = [\"color\", \"flip\"]\n\n";
    std::fs::write(here.join("photos.toml"), tiny_on(data)).unwrap();
    let run = |suite: &str, out: &str| {
        let fixed = ["--data-root", ".", "--methods", "Random init", "--precision", "fp32", "--threads", "1"];
        let shift = ["--set", "probe.shift={brightness=[0.1, 0.3]}"];
        eqr(here, &[&["run", suite, "--out", out][..], &fixed, &shift].concat())
    };
    succeeded(&run("photos.toml", "run"));
    let found = metrics(&here.join("run"));
    let has = |task: &str, metric: &str| found.contains_key(&(task.to_owned(), metric.to_owned()));
    assert!(has("color", "r2_per_output_shifted") && has("color", "r2_pooled_linear_shifted"), "{found:?}");
    assert!(has("flip", "r2_per_output") && !has("flip", "r2_per_output_shifted"));
    let table = std::fs::read_to_string(here.join("run/tables/table-main.md")).unwrap();
    assert!(table.contains("on test pairs from shifted ranges"), "{table}");
    // renders have the views that they have
    let renders = run("tiny.toml", "renders");
    assert!(
        renders.status.code() == Some(2) && stderr(&renders).contains("probe.shift: renders have the views")
    );
}

#[test]
fn parts_linear_probes_and_canonical_quaternions_of_renders() {
    let folder = folder();
    let run = |out: &str, more: &[&str]| {
        let fixed =
            ["run", "tiny.toml", "--out", out, "--methods", "Ours", "--precision", "fp32", "--threads", "1"];
        eqr(folder.path(), &[&fixed[..], more].concat())
    };
    succeeded(&run("out", &["--set", "probe.parts=[\"all\", \"inv\", \"equi\"]"]));
    let found = metrics(&folder.path().join("out"));
    let value = |task: &str, metric: &str| found[&(task.to_owned(), metric.to_owned())];
    for metric in ["r2_per_output", "r2_per_output_inv", "r2_per_output_equi", "r2_per_output_grid"] {
        for task in ["rotation", "color"] {
            let (mlp, linear) =
                (value(task, metric), value(task, &metric.replace("output", "output_linear")));
            assert!(mlp < 1.0 && linear < 1.0 && mlp != linear, "{task} {metric}: {mlp} {linear}");
            // the ridge fits its training pairs about as well as the mean, or better
            let train = value(task, &metric.replace("output", "output_train_linear"));
            assert!(train > -0.05, "{task} {metric}: {train}");
        }
    }
    assert_ne!(value("rotation", "r2_per_output_inv"), value("rotation", "r2_per_output_equi"));
    assert_ne!(value("rotation", "r2_per_output_canonical"), value("rotation", "r2_per_output"));
    assert!(!found.contains_key(&("color".to_owned(), "r2_per_output_canonical".to_owned())));
    let (own, others) =
        (value("representation", "similarity_own"), value("representation", "similarity_others"));
    let share = (own - others) / (1.0 - others);
    assert!(
        (value("representation", "invariance") - share).abs() < 1e-9 && others < own && own <= 1.0 + 1e-9
    );
    let rank = value("representation", "effective_rank");
    assert!((1.0..=32.0).contains(&rank), "{rank}");
    let table = std::fs::read_to_string(folder.path().join("out/tables/table-main.md")).unwrap();
    for title in [
        "Invariant half of y",
        "Equivariant half of y",
        "Linear probes of y",
        "Quaternions with w >= 0",
        "What y is like",
    ] {
        assert!(table.contains(&format!("### {title}")), "{title}: {table}");
    }

    let refused = run("refused", &["--set", "probe.parts=[\"inv\"]"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("probe.parts: `all` is missing"), "{}", stderr(&refused));
}

/// An affine map determines rotation, flip and the size of the crop, but not the crop's centre or the
/// translation.
#[test]
fn pairs_that_differ_by_all_transforms_stand_beside_their_ceiling() {
    let folder = folder();
    let here = folder.path();
    class_folders(here, "photos", 2, 40, |_| (32, 32));
    let pack = ["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--test-fraction", "0.4"];
    succeeded(&eqr(here, &pack));
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"the test\"\nside = 16\n\n\
                [transforms]\nactive = [\"rotation\", \"crop\", \"translation\", \"flip\"]\n\n";
    std::fs::write(here.join("photos.toml"), tiny_on(data)).unwrap();
    let run = [
        "run",
        "photos.toml",
        "--out",
        "out",
        "--data-root",
        ".",
        "--methods",
        "Random init",
        "--precision",
        "fp32",
    ];
    succeeded(&eqr(here, &[&run[..], &["--threads", "1", "--set", "probe.combined=true"]].concat()));
    let found = metrics(&here.join("out"));
    let exact = |task: &str| found[&(task.to_owned(), "r2_per_output_combined_exact".to_owned())];
    assert_eq!((exact("rotation"), exact("flip")), (1.0, 1.0));
    let (crop, translation) = (exact("crop"), exact("translation"));
    assert!((0.5..0.999).contains(&crop) && (0.2..0.999).contains(&translation), "{crop} {translation}");
    let table = std::fs::read_to_string(here.join("out/tables/table-main.md")).unwrap();
    assert!(table.contains("| The exact map | 1.000 |"), "{table}");
}
