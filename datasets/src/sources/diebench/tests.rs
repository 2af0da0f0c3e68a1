//! Small copies of 3DIEBench's tree and of SIE's files, valid and broken.

use super::*;
use crate::formats::testing::{npy, utf32};
use crate::sources::testing::{listing, options};

type Files = Vec<(String, Vec<u8>)>;

const CHAIR: &str = "03001627";
const PLANE: &str = "02691156";

fn latents(values: [f64; 7]) -> Vec<u8> {
    npy("<f8", "(7,)", &values.map(f64::to_le_bytes).concat())
}

/// Three planes and two chairs with three views each, below the folder of the published archive.
fn tree() -> Files {
    let mut files: Files = vec![("3DIEBench/LICENSE".into(), b"CC BY-NC".to_vec())];
    for (synset, objects) in [(CHAIR, ["c0", "c1"].as_slice()), (PLANE, &["a0", "a1", "a2"])] {
        for object in objects {
            for view in 0..3 {
                files.push((format!("3DIEBench/{synset}/{object}/image_{view}.jpg"), Vec::new()));
                files.push((format!("3DIEBench/{synset}/{object}/latent_{view}.npy"), latents([0.5; 7])));
            }
        }
    }
    files
}

fn paths_npy(paths: &[&str]) -> Vec<u8> {
    let length = paths.iter().map(|path| path.chars().count()).max().unwrap_or(1);
    npy(&format!("<U{length}"), &format!("({},)", paths.len()), &utf32(paths, length))
}

fn labels_npy(labels: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    npy("<i8", &format!("({},)", labels.len()), &bytes)
}

/// The tree with SIE's files. There, chairs are class 0, although planes come first alphabetically.
fn with_sie(train: &[&str], train_labels: &[i64], val: &[&str], val_labels: &[i64]) -> Files {
    let mut files = tree();
    files.push(("SIE/data/train_images.npy".into(), paths_npy(train)));
    files.push(("SIE/data/train_labels.npy".into(), labels_npy(train_labels)));
    files.push(("SIE/data/val_images.npy".into(), paths_npy(val)));
    files.push(("SIE/data/val_labels.npy".into(), labels_npy(val_labels)));
    files
}

fn planned(files: &Files) -> Result<PackPlan> {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    plan(&listing(&files, DIEBENCH.is_list), &options())
}

fn refused(files: &Files) -> String {
    planned(files).unwrap_err().to_string()
}

fn images(plan: &PackPlan, split: usize) -> Vec<(&str, i32)> {
    plan.splits[split].1.iter().map(|item| (item.image.as_str(), item.label)).collect()
}

#[test]
fn sie_s_files_say_split_and_labels() {
    let files = with_sie(
        &["/02691156/a2", "/datasets/some/where/03001627/c0", "/02691156/a0"],
        &[1, 0, 1],
        &["/03001627/c1"],
        &[0],
    );
    let plan = planned(&files).unwrap();
    assert_eq!((plan.name.as_str(), plan.kind, plan.views), ("3DIEBench", SetKind::Renders, Some(3)));
    assert_eq!(plan.class_names, [CHAIR, PLANE]);
    assert_eq!((plan.splits[0].0.as_str(), plan.splits[1].0.as_str()), ("train", "test"));
    let train = images(&plan, 0);
    assert_eq!(train.len(), 9);
    assert_eq!(train[0], ("3DIEBench/02691156/a2/image_0.jpg", 1));
    assert_eq!(train[5], ("3DIEBench/03001627/c0/image_2.jpg", 0));
    assert_eq!(images(&plan, 1)[1], ("3DIEBench/03001627/c1/image_1.jpg", 0));
    assert_eq!(plan.splits[1].1[1].latents.as_deref(), Some("3DIEBench/03001627/c1/latent_1.npy"));
    assert_eq!(plan.notes["objects_in_no_split"], 1);
}

#[test]
fn without_sie_s_files_whole_objects_are_split_by_the_seed() {
    let plan = planned(&tree()).unwrap();
    assert_eq!(plan.class_names, [PLANE, CHAIR]);
    assert_eq!((plan.splits[0].1.len(), plan.splits[1].1.len()), (9, 6));
    let object = |(path, _): &(&str, i32)| path.rsplit_once('/').unwrap().0.to_owned();
    let test: Vec<String> = images(&plan, 1).iter().map(object).collect();
    assert!(images(&plan, 0).iter().all(|image| !test.contains(&object(image))));
    for views in test.chunks(3) {
        assert!(views.iter().all(|view| *view == views[0]), "the views of an object are together");
    }
    assert_eq!(plan.notes["split"]["seed"], 3);
}

#[test]
fn views_are_ordered_as_numbers() {
    let mut files: Files = Vec::new();
    for object in ["a0", "a1"] {
        for view in 0..11 {
            files.push((format!("x/{object}/image_{view}.jpg"), Vec::new()));
            files.push((format!("x/{object}/latent_{view}.npy"), Vec::new()));
        }
    }
    let plan = planned(&files).unwrap();
    assert_eq!(plan.views, Some(11));
    let object = &plan.splits[0].1;
    assert!(object[2].image.ends_with("image_2.jpg") && object[10].image.ends_with("image_10.jpg"));
}

#[test]
fn an_object_that_lacks_a_view_is_named() {
    let without =
        |ending: &str| -> Files { tree().into_iter().filter(|(path, _)| !path.ends_with(ending)).collect() };
    let message = refused(&without("a1/latent_1.npy"));
    assert!(message.contains("02691156/a1: latent_1.npy is missing, expected 3 views"), "{message}");
    let message = refused(&without("c0/image_2.jpg"));
    assert!(message.contains("03001627/c0: image_2.jpg is missing"), "{message}");
    let mut more = tree();
    more.push(("3DIEBench/03001627/c1/image_4000000000.jpg".into(), Vec::new()));
    assert!(refused(&more).contains("a0: image_3.jpg is missing"), "a wrong number must not cost memory");
}

#[test]
fn copies_single_views_and_empty_inputs_are_refused() {
    let mut files = tree();
    files.push(("copy/03001627/c1/image_0.jpg".into(), Vec::new()));
    assert!(refused(&files).contains("occurs twice"));
    let single: Files = tree().into_iter().filter(|(path, _)| path.contains("_0.")).collect();
    assert!(refused(&single).contains("at least two views"));
    assert!(refused(&vec![("a/b.jpg".into(), Vec::new())]).contains("found none"));
}

#[test]
fn split_files_that_do_not_fit_the_tree_are_refused() {
    let train = ["/02691156/a0", "/03001627/c0"];
    let with = |val: &[&str], labels: &[i64]| refused(&with_sie(&train, &[1, 0], val, labels));
    assert!(with(&["/03001627/c9"], &[0]).contains("03001627/c9: is in the split files but is missing"));
    assert!(with(&["/03001627/c0"], &[0]).contains("03001627/c0: is in the split files twice"));
    assert!(with(&["/03001627/c1"], &[0, 1]).contains("val_labels.npy: 2 labels for the 1 objects"));
    assert!(with(&["/03001627/c1"], &[1]).contains("label 1 of 03001627/c1"));
    assert!(with(&["/03001627/c1"], &[2]).contains("label 2 of 03001627/c1"));
    assert!(with(&["c1"], &[0]).contains("val_images.npy: expected paths that end in <synset>/<object>"));
    assert!(with(&[], &[]).contains("no objects for one of the splits"));
    let gap = with_sie(&train, &[2, 0], &["/03001627/c1"], &[0]);
    assert!(refused(&gap).contains("found 2 instead of 1"));
    let negative = with_sie(&train, &[1, -1], &["/03001627/c1"], &[-1]);
    assert!(refused(&negative).contains("found -1 instead of 0"));
}

#[test]
fn malformed_split_files_are_named() {
    let whole = || with_sie(&["/02691156/a0"], &[0], &["/02691156/a1"], &[0]);
    let mut files = whole();
    files.retain(|(path, _)| !path.ends_with("val_labels.npy"));
    assert!(refused(&files).contains("val_labels.npy is missing beside"));
    let replaced = |name: &str, bytes: Vec<u8>| {
        let mut files = whole();
        files.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1 = bytes;
        refused(&files)
    };
    assert!(replaced("train_images.npy", labels_npy(&[1])).contains("train_images.npy: expected paths"));
    assert!(replaced("train_labels.npy", paths_npy(&["x"])).contains("train_labels.npy: expected integers"));
    assert!(
        replaced("val_images.npy", b"half".to_vec())
            .contains("val_images.npy: expected a .npy file, found a text file")
    );
}

#[test]
fn latents_are_seven_finite_floats() {
    let values = [0.1, -0.2, 1.5, 0.25, 0.7, 6.0, 1.0];
    assert_eq!(read_latents(&latents(values)).unwrap(), values.map(|value| value as f32));
    let singles: Vec<u8> = [1.0f32; 7].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(read_latents(&npy("<f4", "(7,)", &singles)).unwrap(), [1.0; 7]);
    for (bad, expected) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (1e300, "1e300")] {
        let error = read_latents(&latents([0.0, 0.0, bad, 0.0, 0.0, 0.0, 0.0])).unwrap_err();
        assert!(error.contains("latent 3 of 7 is") && error.contains(expected), "{error}");
    }
    assert!(read_latents(&npy("<f8", "(2,)", &[0; 16])).unwrap_err().contains("expected 7 latents, found 2"));
    assert!(read_latents(&npy("<f8", "(1, 7)", &[0; 56])).unwrap_err().contains("one dimension"));
    assert!(read_latents(&npy("|u1", "(7,)", &[0; 7])).unwrap_err().contains("as floats"));
    assert!(read_latents(b"").unwrap_err().contains("expected a .npy file, found an empty file"));
}
