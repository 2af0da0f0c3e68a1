//! A suite of several data sets. One run trains on each of them and reports each separately.

use std::path::Path;

use crate::common::{
    TINY, cell, class_folders, eqr, eqr_ranks, folder, has_mpi, same_losses, stderr, succeeded,
};

/// The tiny suite on generated solids and on photographs that stay in their pack. The photographs have their
/// own methods and epochs.
fn suite(folder: &Path) {
    class_folders(folder, "photos", 2, 32, |index| (20 + index * 2, 75 - index));
    let pack = ["data", "pack", "class-folders", "photos", "--out", "photos.h5", "--test-fraction", "0.25"];
    succeeded(&eqr(folder, &pack));
    let (before, rest) = TINY.split_once("[data]\n").unwrap();
    let (solids, rest) = rest.split_once("\n\n").unwrap();
    let photos = r#"[[data]]
source = "pack"
file = "photos.h5"
made_by = "eqr-bench data pack class-folders photos --out photos.h5"
side = 16
[data.set]
table = 4
methods = ["VICReg", "Ours"]
train = { epochs = 3 }
transforms = { active = ["rotation", "color"] }
"#;
    std::fs::write(folder.join("two.toml"), format!("{before}[[data]]\n{solids}\n\n{photos}\n{rest}"))
        .unwrap();
}

fn run<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed =
        ["run", "two.toml", "--out", out, "--data-root", ".", "--precision", "fp32", "--threads", "1"];
    [&fixed[..], more].concat()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn two_data_sets_are_trained_on_and_reported_by_themselves() {
    let folder = folder();
    let here = folder.path();
    suite(here);
    let dry = eqr(here, &run("dry", &["--dry-run"]));
    succeeded(&dry);
    let lines = String::from_utf8(dry.stdout).unwrap();
    // 48 photographs in batches of 25, 3 epochs
    let (_, photos) = lines.split_once("suite tiny, photos: 2 rows x 1 seeds\n").unwrap();
    assert!(photos.starts_with("pretrain-photos-vicreg-seed0  ") && photos.contains(" 3 steps, "), "{lines}");

    succeeded(&eqr(here, &run("out", &[])));
    let out = here.join("out");
    // 80 training objects in batches of 25, 7 epochs; 48 photographs, 3 epochs
    assert_eq!(cell(&out, "pretrain-solids-ours-seed0")["step"], 21);
    assert_eq!(cell(&out, "pretrain-photos-ours-seed0")["step"], 3);
    assert!(!out.join("cells/pretrain-solids-vicreg-seed0.json").exists());
    let metrics = read(out.join("metrics.csv"));
    for row in ["tiny,-,solids,rotation,Random init,", "tiny,4,photos,rotation,VICReg,"] {
        assert!(metrics.contains(row), "{row}: {metrics}");
    }
    assert!(!metrics.contains("photos,rotation,Random init"), "{metrics}");
    // launches that share the work make the same cells and pictures, of the rows of each data set
    succeeded(&eqr(here, &run("shared", &["--share"])));
    assert_eq!(read(here.join("shared/metrics.csv")), metrics);
    assert_eq!(files(&here.join("shared/figures")), files(&out.join("figures")));
    assert_eq!(
        files(&here.join("shared.shared")),
        ["ours-seed0", "precision.json", "random-init-seed0", "vicreg-seed0"]
    );
    // each table has only its own rows
    let (solids, photos) = (read(out.join("tables/table-solids.md")), read(out.join("tables/table-4.md")));
    assert!(solids.contains("A tiny suite: solids") && !solids.contains("VICReg"), "{solids}");
    assert!(photos.contains("A tiny suite: photos") && photos.contains("VICReg |"), "{photos}");
    for figure in ["training-curves-solids", "training-curves-photos", "reconstruction-photos-ours-seed0"] {
        assert!(out.join("figures").join(format!("{figure}.png")).is_file(), "{figure}");
    }
    let printed = |args: &[&str]| {
        let output = eqr(here, &[&["report", "out", "--format"], args].concat());
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(printed(&["markdown"]), format!("{solids}\n{photos}"));
    assert_eq!(printed(&["markdown", "--table", "4"]), photos);
    assert!(printed(&["csv"]).starts_with("dataset,section,row,"));
    succeeded(&eqr(
        here,
        &["export", "out", "--data-set", "photos", "--method", "Ours", "--out", "ours.safetensors"],
    ));

    // a set gives the same as in a suite of its own
    let alone = read(here.join("tiny.toml"));
    std::fs::write(here.join("alone.toml"), alone).unwrap();
    succeeded(&eqr(here, &["run", "alone.toml", "--out", "alone", "--precision", "fp32", "--threads", "1"]));
    let curve = |run: &str, id: &str| cell(&here.join(run), id)["curve"].clone();
    assert_eq!(curve("out", "pretrain-solids-ours-seed0"), curve("alone", "pretrain-ours-seed0"));

    // finished cells are kept; the refusal of another configuration names the set's key
    let before = read(out.join("log.jsonl"));
    succeeded(&eqr(here, &run("out", &[])));
    // a line for the cells that each set has planned, and one for the time
    assert_eq!(read(out.join("log.jsonl")).lines().count(), before.lines().count() + 3);
    let two = read(here.join("two.toml"));
    std::fs::write(here.join("two.toml"), two.replace("train = { epochs = 3 }", "train = { epochs = 4 }"))
        .unwrap();
    let refused = eqr(here, &run("out", &[]));
    assert_eq!(refused.status.code(), Some(2));
    let message = stderr(&refused);
    assert!(message.contains("suite.photos.train.epochs: the folder has 3, this call 4"), "{message}");
}

#[test]
fn several_data_sets_do_not_depend_on_the_number_of_ranks() {
    if !has_mpi() {
        return;
    }
    let folder = folder();
    let here = folder.path();
    suite(here);
    // the probes of several sets are also distributed over the ranks
    for (ranks, out, more) in
        [(1, "one", &["--pretrain-only"][..]), (2, "two", &[]), (3, "three", &["--pretrain-only"])]
    {
        succeeded(&eqr_ranks(here, ranks, &run(out, more)));
    }
    for out in ["two", "three"] {
        same_losses(&here.join("one"), &here.join(out), "pretrain-solids-ours-seed0", 20);
        same_losses(&here.join("one"), &here.join(out), "pretrain-photos-ours-seed0", 3);
    }
}

#[test]
fn a_data_set_that_is_not_there_stops_all_before_anything_is_trained() {
    let folder = folder();
    suite(folder.path());
    std::fs::remove_file(folder.path().join("photos.h5")).unwrap();
    let refused = eqr(folder.path(), &run("out", &[]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("no pack photos.h5: looked in ."), "{}", stderr(&refused));
    assert!(!folder.path().join("out/cells").exists());
}
