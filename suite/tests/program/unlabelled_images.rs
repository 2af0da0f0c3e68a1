//! A flat folder of images: a pack without labels, on which probes work; and what packs say of themselves.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tch::Kind;

use crate::common::{class_folders, eqr, is_refusal, picture, stderr, succeeded, traced};

/// `count` pictures in the folder `flat`.
fn flat(here: &Path, count: u32) {
    let _ = fs::remove_dir_all(here.join("flat"));
    fs::create_dir(here.join("flat")).unwrap();
    for index in 0..count {
        picture(24, 20, index).save(here.join(format!("flat/{index:02}.png"))).unwrap();
    }
}

fn refused(here: &Path, args: &[&str], says: &[&str]) {
    is_refusal(&eqr(here, args), says);
}

#[test]
fn a_flat_folder_is_packed_without_labels_and_probed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    flat(here, 30);
    let hint = "hint: `eqr-bench data pack images` packs them without labels";
    refused(
        here,
        &["data", "pack", "class-folders", "flat", "--out", "x.h5"],
        &["flat: images without", hint],
    );
    let packed = eqr(here, &["data", "pack", "images", "flat", "--side", "16", "--out", "flat.h5"]);
    succeeded(&packed);
    let said = stderr(&packed);
    assert!(said.contains("flat.h5: 24 train and 6 test images of 16 x 16 without labels"), "{said}");
    assert!(said.contains("a share of 0.2 was drawn for it with seed 0"), "{said}");

    traced(&here.join("mean.pt"), 16, |images| images.mean_dim([2, 3].as_slice(), false, Kind::Float));
    let on_pack = ["--encoder", "mean.pt", "--data", "flat.h5"];
    let small = ["--transforms", "color", "--seeds", "1", "--epochs", "2", "--hidden", "8"];
    let probed = eqr(here, &[&["probe"], &on_pack[..], &small[..]].concat());
    succeeded(&probed);
    assert!(String::from_utf8_lossy(&probed.stdout).contains("| color"), "{}", stderr(&probed));
    refused(
        here,
        &[&["transfer"], &on_pack[..]].concat(),
        &["flat.h5: the images have no labels", "`transfer`"],
    );
    refused(
        here,
        &["init", "mine.toml", "--data", "flat.h5"],
        &["flat.h5: the images have no labels", "`run`"],
    );

    let shown = eqr(here, &["data", "show", "flat.h5", "--out", "flat.png"]);
    succeeded(&shown);
    assert!(stderr(&shown).contains("flat.png: 24 images of flat, train, in "), "{}", stderr(&shown));
}

#[test]
fn empty_folders_and_those_of_two_images_get_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for kind in ["images", "class-folders"] {
        flat(here, 0);
        refused(
            here,
            &["data", "pack", kind, "flat", "--out", "x.h5"],
            &["error: flat: no images, found nothing"],
        );
    }
    flat(here, 2);
    let args = ["data", "pack", "images", "flat", "--out", "x.h5"];
    refused(
        here,
        &args,
        &["error: flat: 2 images leave 1 for the train split, expected at least 2 for each"],
    );
    assert!(!here.join("x.h5").exists());
}

#[test]
fn a_pack_tells_what_it_holds_and_is_not_replaced_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    class_folders(here, "photos", 2, 10, |_| (20, 20));
    let pack = |more: &[&str]| {
        eqr(here, &[&["data", "pack", "class-folders", "photos", "--out", "p.h5"], more].concat())
    };
    succeeded(&pack(&["--side", "16"]));
    let info = |more: &[&str]| {
        let output = eqr(here, &[&["data", "info", "p.h5"], more].concat());
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let text = info(&[]);
    for line in [
        "name        photos\n",
        "train       16 images of 16 x 16, 12.3 kB\n",
        "classes     2: class 0, class 1\n            8 train images of each\n",
        "made        from photos, as class-folders\n            size central square 16, filter",
        "            split seed 0, test fraction 0.2\n",
        "format version 3\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let value: Value = serde_json::from_str(&info(&["--json"])).unwrap();
    assert_eq!(value["splits"]["test"]["images_of_class"]["class 1"], 2);
    assert_eq!(
        (&value["labels"], &value["bytes"]),
        (&true.into(), &fs::metadata(here.join("p.h5")).unwrap().len().into())
    );
    refused(
        here,
        &["data", "info", "photos/class 0/000.png"],
        &["expected an eqr-pack file, found a PNG image"],
    );

    let before = fs::read(here.join("p.h5")).unwrap();
    succeeded(&pack(&["--side", "16"]));
    let other = pack(&["--side", "8"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(
        stderr(&other).contains("p.h5: an existing pack that was made otherwise: the size"),
        "{}",
        stderr(&other)
    );
    let seed = pack(&["--side", "16", "--seed", "1"]);
    assert!(stderr(&seed).contains("seed of the split is 0, now 1\nhint: "), "{}", stderr(&seed));
    assert!(fs::read(here.join("p.h5")).unwrap() == before);
    succeeded(&pack(&["--side", "8", "--force"]));
}

#[test]
fn a_folder_that_is_left_out_counts_with_all_its_images() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for split in ["train", "test", "extra"] {
        class_folders(&here.join("photos"), split, 2, 3, |_| (20, 20));
    }
    let args = ["data", "pack", "class-folders", "photos", "--out", "p.h5"];
    refused(here, &args, &["extra/: a folder with 6 images beside", "hint: 6 of 18 members cannot be used"]);
    let packed = eqr(here, &[&args[..], &["--skip-bad"]].concat());
    succeeded(&packed);
    assert!(stderr(&packed).contains("left out: 6 images that cannot be used"), "{}", stderr(&packed));
}
