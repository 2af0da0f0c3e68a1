//! Rows that a run does not train, and transfer to other data sets: cells and tables, on one and two ranks.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5::File;
use ndarray::{Array1, Array2};

use crate::common::{
    colour_map, eqr, eqr_ranks, folder, has_mpi, photographs, stderr, succeeded, tiny_on, tiny_run, traced,
    writing_hdf5,
};

/// The tiny suite on photographs with two external rows, and transfer to the same photographs.
pub fn suite(folder: &Path) {
    photographs(folder);
    traced(&folder.join("colours.pt"), 16, colour_map);
    features(&folder.join("features.h5"));
    let results = "dataset,task,method,metric,pretrain_seed,value\n\
                   photos,color,Theirs,r2_per_output,0,0.25\nphotos,color,Theirs,r2_per_output,1,0.35\n\
                   photos,linear transfer,Theirs,top1,0,0.5\nelsewhere,color,Theirs,r2_per_output,0,0.9\n";
    std::fs::write(folder.join("results.csv"), results).unwrap();
    let data = "[data]\nsource = \"pack\"\nfile = \"photos.h5\"\nmade_by = \"photographs\"\nside = 16\n\n\
                [transforms]\nactive = [\"color\", \"flip\"]\n\n";
    let rows = "\n[[rows]]\nmethod = \"external\"\nname = \"Colours\"\nencoder = \"colours.pt\"\noptions = { size = 16 }\n\n\
                [[rows]]\nmethod = \"external\"\nname = \"Features\"\nfeatures = \"features.h5\"\n\
                transfer = { photos = \"features.h5\" }\n\n\
                [[transfer]]\nfile = \"photos.h5\"\nmade_by = \"photographs\"\nmetric = \"mean_per_class\"\n\
                few_shot = { shots = [1, 5], draws = 4 }\nshift = { hue = [0.33, 0.34] }\n";
    std::fs::write(folder.join("rows.toml"), tiny_on(data) + rows).unwrap();
}

/// Pairs whose color is the difference of their features. The features do not depend on flips.
fn features(path: &Path) {
    let wave = |i: usize, salt: usize| {
        let x = ((i * 7 + salt * 131 + 1) as f64 * 12.9898).sin() * 43_758.545_3;
        (2.0 * (x - x.floor()) - 1.0) as f32
    };
    let _alone = writing_hdf5();
    let file = File::create(path).unwrap();
    for (split, rows) in [("train", 0..200), ("test", 200..300)] {
        let matrix = |columns, of: &dyn Fn(usize, usize) -> f32| {
            Array2::from_shape_fn((rows.len(), columns), |(i, j)| of(rows.start + i, j))
        };
        let write = |name: &str, values: &Array2<f32>| {
            file.new_dataset_builder().with_data(values).create(format!("{split}/{name}").as_str()).unwrap();
        };
        write("features_1", &matrix(4, &wave));
        write("features_2", &matrix(4, &|i, j| wave(i, j) + wave(i, 40 + j)));
        write("targets/color", &matrix(2, &|i, j| wave(i, 40 + j)));
        write("targets/flip", &matrix(1, &|i, _| wave(i, 77).signum()));
    }
    for (split, count) in [("train", 60usize), ("val", 30), ("test", 30)] {
        let labels = Array1::from_shape_fn(count, |i| (i % 3) as i64);
        let features =
            Array2::from_shape_fn((count, 3), |(i, j)| if i % 3 == j { 1.0f32 } else { 0.1 * wave(i, j) });
        file.new_dataset_builder().with_data(&features).create(format!("{split}/features").as_str()).unwrap();
        file.new_dataset_builder().with_data(&labels).create(format!("{split}/labels").as_str()).unwrap();
    }
}

const RUN: [&str; 10] = [
    "run",
    "rows.toml",
    "--data-root",
    ".",
    "--threads",
    "1",
    "--precision",
    "fp32",
    "--external",
    "Theirs=results.csv",
];

/// Lists of values of a run's `metrics.csv` by method, task and metric.
fn values(run: &Path) -> BTreeMap<(String, String, String), Vec<f64>> {
    let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut reader = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    for line in reader.deserialize::<BTreeMap<String, String>>() {
        let line = line.unwrap();
        let key = (line["method"].clone(), line["task"].clone(), line["metric"].clone());
        all.entry(key).or_default().push(line["value"].parse().unwrap());
    }
    all
}

#[test]
fn encoders_features_and_results_of_others_stand_in_the_tables() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let methods = ["--methods", "Random init", "--out", "run"];
    succeeded(&eqr(here, &[&RUN[..], &methods].concat()));
    let found = values(&here.join("run"));
    let of = |method: &str, task: &str, metric: &str| {
        found.get(&(method.to_owned(), task.to_owned(), metric.to_owned())).cloned().unwrap_or_default()
    };
    for method in ["Random init", "Colours", "Features"] {
        for (task, metric, count) in [
            ("color", "r2_per_output", 2),
            ("flip", "r2_per_output_linear", 1),
            ("classification", "top1", 2),
        ] {
            assert_eq!(of(method, task, metric).len(), count, "{method} {task} {metric}");
        }
    }
    assert!(of("Features", "color", "r2_per_output_linear")[0] > 0.99, "the color is linear in the features");
    assert!(of("Features", "flip", "r2_per_output_linear")[0] < 0.1, "the features know nothing of flips");
    assert_eq!(of("Theirs", "color", "r2_per_output"), [0.25, 0.35]);
    assert_eq!(of("Theirs", "linear transfer", "top1"), [0.5]);
    assert!(of("Theirs", "linear transfer", "knn_top1").is_empty());
    for method in ["Random init", "Colours"] {
        assert_eq!(of(method, "linear transfer", "mean_per_class").len(), 1, "{method}");
    }
    assert!(of("Colours", "linear transfer", "top1")[0] > 0.9, "three hues");
    assert_eq!(
        of("Features", "linear transfer", "top1"),
        [1.0],
        "labelled features of the set, one column a class"
    );
    for method in ["Random init", "Colours", "Features"] {
        for metric in ["few_shot_top1/1", "few_shot_mean_per_class/5"] {
            assert_eq!(of(method, "linear transfer", metric).len(), 4, "{method} {metric}: one value a draw");
        }
    }
    assert!(of("Features", "linear transfer", "few_shot_top1/5").iter().all(|top1| *top1 > 0.9));
    // a third of a turn makes every hue that of another class
    assert!(of("Colours", "linear transfer", "shifted_top1")[0] < 0.1, "the classes changed their hues");
    assert_eq!(of("Random init", "linear transfer", "shifted_mean_per_class").len(), 1);
    assert!(of("Features", "linear transfer", "shifted_top1").is_empty(), "features cannot be shifted");
    let output = eqr(here, &["report", "run", "--only", "shifted transfer", "--format", "markdown"]);
    succeeded(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("| Colours"), "{output:?}");
    let cells = |name: &str| here.join("run/cells").join(format!("{name}.json")).is_file();
    assert!(cells("transfer-photos-external-colours") && cells("probe-external-theirs"));
    let table = std::fs::read_to_string(here.join("run/tables/table-main.md")).unwrap();
    for part in ["Colours", "Features", "Theirs", "0.300"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let columns = ["report", "run", "--only", "few shots", "--format", "markdown"];
    let output = eqr(here, &columns);
    succeeded(&output);
    let table = String::from_utf8(output.stdout).unwrap();
    for part in
        ["photos, 1 a class mean per class", "photos, 5 a class", "its interval is Student's over the draws"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }

    // two ranks share the cells and find the same
    let args = [&RUN[..], &["--methods", "Random init", "--out", "two"]].concat();
    if !has_mpi() {
        return;
    }
    succeeded(&eqr_ranks(here, 2, &args));
    assert_eq!(found, values(&here.join("two")));
}

/// One command, without any training, puts an encoder into the table.
#[test]
fn an_encoder_alone_makes_a_table() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    succeeded(&eqr(here, &[&RUN[..], &["--methods", "", "--out", "run"]].concat()));
    assert!(!here.join("run/checkpoints").exists());
    let methods: std::collections::BTreeSet<String> =
        values(&here.join("run")).into_keys().map(|key| key.0).collect();
    assert_eq!(Vec::from_iter(methods), ["Colours", "Features", "Theirs"]);
}

/// Labelled training features of which a logistic regression cannot be fitted.
fn fewer_samples_than_classes(path: &Path) {
    let _alone = writing_hdf5();
    let file = File::open_rw(path).unwrap();
    let train = file.group("train").unwrap();
    train.unlink("features").unwrap();
    train.unlink("labels").unwrap();
    train.new_dataset_builder().with_data(&Array2::<f32>::eye(3)).create("features").unwrap();
    train.new_dataset_builder().with_data(&Array1::from_vec(vec![0i64, 1, 5])).create("labels").unwrap();
}

/// A failed measurement is named, the others are done, and a later call repeats it.
#[test]
fn what_fails_leaves_the_others_be() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let good = std::fs::read(here.join("features.h5")).unwrap();
    fewer_samples_than_classes(&here.join("features.h5"));
    let args = [&RUN[..], &["--methods", "Random init", "--out", "run"]].concat();
    let output = eqr(here, &args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in ["measurements failed, the others are done", "transfer-photos-external-features: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(here.join("run/failed/transfer-photos-external-features.json").is_file());
    let table = std::fs::read_to_string(here.join("run/tables/table-main.md")).unwrap();
    assert!(table.contains("Colours") && table.contains("Theirs"));
    if has_mpi() {
        let output = eqr_ranks(here, 2, &[&args[..args.len() - 1], &["two"]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("measurements failed, the others"), "{}", stderr(&output));
    }
    // a file may be replaced only while it has no cells
    std::fs::write(here.join("features.h5"), good).unwrap();
    let output = eqr(here, &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cells/probe-external-features.json was made from another file"));
    std::fs::remove_file(here.join("run/cells/probe-external-features.json")).unwrap();
    succeeded(&eqr(here, &args));
    assert!(here.join("run/cells/transfer-photos-external-features.json").is_file());
    assert!(!here.join("run/failed/transfer-photos-external-features.json").exists());
    // a finished run takes further rows
    succeeded(&eqr(here, &[&args[..], &["--external", "Again=colours.pt"]].concat()));
    assert!(here.join("run/cells/transfer-photos-external-again.json").is_file());
    std::fs::write(here.join("results.csv"), "dataset,task,metric,value\nphotos,color,r2_per_output,0.5\n")
        .unwrap();
    let output = eqr(here, &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("row external-theirs: cells/"), "{}", stderr(&output));
}

#[test]
fn rows_that_cannot_be_are_refused_before_anything_is_trained() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let odd = "dataset;task;metric;value\nphotos;color;r2_per_output;0,5\nphotos;flip;r2_per_output;much\n";
    std::fs::write(here.join("odd.csv"), odd).unwrap();
    std::fs::write(here.join("elsewhere.csv"), "dataset,task,metric,value\nSTL,color,r2_per_output,0.5\n")
        .unwrap();
    let features = std::fs::read(here.join("features.h5")).unwrap();
    std::fs::write(here.join("half.h5"), &features[..features.len() / 2]).unwrap();
    std::fs::write(here.join("pointer.pt"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        .unwrap();
    for (more, says) in [
        (vec!["--external", "Odd=odd.csv"], vec!["rows: `Odd`", "odd.csv", "line: 3"]),
        (vec!["--external", "Else=elsewhere.csv"], vec!["rows: `Else`", "no row of `Else` on photos"]),
        (vec!["--external", "Half=half.h5"], vec!["rows: `Half`", "half.h5"]),
        (
            vec!["--external", "Pointer=pointer.pt"],
            vec!["rows: `Pointer`", "a Git LFS pointer", "git lfs pull"],
        ),
        (vec!["--external", "Absent=absent.pt"], vec!["rows: `Absent`", "absent.pt"]),
        (vec!["--external", "Colours=colours.pt"], vec!["rows: `Colours` is listed twice"]),
        (vec!["--external", "Ours=colours.pt"], vec!["rows: `Ours` is listed twice"]),
        (vec!["--external", "nothing"], vec!["expected NAME=FILE"]),
        (
            vec!["--set", "transfer=[{file=\"absent.h5\",made_by=\"some command\"}]"],
            vec!["no pack absent.h5", "some command"],
        ),
        (
            vec!["--set", "rows=[{method=\"external\",name=\"A\"}]"],
            vec!["give one of encoder, features and metrics"],
        ),
    ] {
        let output = eqr(here, &[&RUN[..], &["--out", "run"], &more[..]].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {text}");
        for part in says {
            assert!(text.contains(part), "{more:?} should say `{part}`: {text}");
        }
        assert!(!here.join("run/manifest.json").exists());
    }
    let none = ["run", "rows.toml", "--data-root", ".", "--out", "run", "--set", "rows=[]", "--methods", ""];
    let output = eqr(here, &none);
    assert!(stderr(&output).contains("number of methods = 0"), "{}", stderr(&output));
    let dry = eqr(here, &[&RUN[..], &["--out", "run", "--dry-run"]].concat());
    succeeded(&dry);
    let text = String::from_utf8(dry.stdout).unwrap();
    assert!(
        text.contains("transfer-photos-external-colours") && text.contains("probe-external-theirs"),
        "{text}"
    );
}

#[test]
fn an_encoder_that_can_be_built_has_a_floor() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let own = tiny_run().display().to_string();
    succeeded(&eqr(here, &["export", &own, "--method", "Ours", "--out", "ours.safetensors"]));
    let run = |out: &str, more: &[&str]| {
        let args = ["--methods", "Random init", "--external", "ViT=ours.safetensors", "--out", out];
        succeeded(&eqr(here, &[&RUN[..], &args, more].concat()));
        values(&here.join(out))
    };
    let of = |found: &BTreeMap<_, Vec<f64>>, method: &str, task: &str, metric: &str| {
        found.get(&(method.to_owned(), task.to_owned(), metric.to_owned())).cloned().unwrap_or_default()
    };
    let found = run("run", &[]);
    for (task, metric) in [("color", "r2_per_output"), ("linear transfer", "top1")] {
        let [trained, floor] = ["ViT", "ViT, random weights"].map(|method| of(&found, method, task, metric));
        assert!(!floor.is_empty() && trained.len() == floor.len(), "{task}");
    }
    let linear = |method: &str| of(&found, method, "color", "r2_per_output_linear");
    assert_ne!(linear("ViT"), linear("ViT, random weights"));
    // a module cannot be built anew
    assert!(of(&found, "Colours, random weights", "color", "r2_per_output").is_empty());
    let bare = run("bare", &["--no-floor"]);
    assert!(of(&bare, "ViT, random weights", "color", "r2_per_output").is_empty());

    let transfer = |more: &[&str]| {
        let args = ["transfer", "--encoder", "ours.safetensors", "--data", "photos.h5", "--json"];
        let output = eqr(here, &[&args, more].concat());
        succeeded(&output);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let with_floor = transfer(&[]);
    assert!(with_floor["random_weights"]["top1"].is_number() && with_floor["top1"].is_number());
    assert!(transfer(&["--no-floor"])["random_weights"].is_null());
}
