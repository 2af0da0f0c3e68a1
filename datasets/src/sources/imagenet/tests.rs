//! Small copies of ImageNet's layouts, valid and broken.

use super::*;
use crate::set_kind::SetKind;
use crate::sources::testing::{listing, options};

type Files<'a> = Vec<(&'a str, &'a [u8])>;

/// Written by scripts/reference/meta_mat.py: 1 n02119789, 2 n02100735, 3 n02110185, 4 n02096294.
const META: &[u8] = include_bytes!("../../../tests/reference/meta.mat");

const TRUTH: &str =
    "ILSVRC2012_devkit_t12.tar.gz/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt";

/// Both splits in class folders, as torchvision expects them.
fn folders() -> Files<'static> {
    vec![
        ("imagenet/train/n01440764/n01440764_18.JPEG", b""),
        ("imagenet/train/n01440764/n01440764_2.JPEG", b""),
        ("imagenet/train/n01443537/n01443537_7.JPEG", b""),
        ("imagenet/val/n01440764/ILSVRC2012_val_00000002.JPEG", b""),
        ("imagenet/val/n01443537/ILSVRC2012_val_00000001.JPEG", b""),
    ]
}

/// The published archives in one folder.
fn archives() -> Files<'static> {
    vec![
        ("ILSVRC2012_img_train.tar/n02100735.tar/n02100735_1.JPEG", b""),
        ("ILSVRC2012_img_train.tar/n02119789.tar/n02119789_3.JPEG", b""),
        ("ILSVRC2012_img_val.tar/ILSVRC2012_val_00000001.JPEG", b""),
        ("ILSVRC2012_img_val.tar/ILSVRC2012_val_00000002.JPEG", b""),
        ("ILSVRC2012_img_val.tar/ILSVRC2012_val_00000003.JPEG", b""),
        (TRUTH, b"1\r\n2\r\n1\r\n"),
        ("ILSVRC2012_devkit_t12.tar.gz/ILSVRC2012_devkit_t12/data/meta.mat", META),
    ]
}

/// Kaggle's tree.
fn kaggle() -> Files<'static> {
    vec![
        ("ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml", b""),
        ("ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", b""),
        ("ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_10026.JPEG", b""),
        ("ILSVRC/Data/CLS-LOC/train/n03995372/n03995372_1.JPEG", b""),
        ("ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG", b""),
        ("ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG", b""),
        ("LOC_synset_mapping.txt", b"n01440764 tench, Tinca tinca\nn03995372 power drill\n"),
        (
            "LOC_val_solution.csv",
            b"ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764 85 1 499 272 n01440764 1 2 3 4 \n\
              ILSVRC2012_val_00000001,n03995372 85 1 499 272 \n",
        ),
    ]
}

fn planned(files: &Files) -> Result<PackPlan> {
    plan(&listing(files, IMAGENET.is_list), &options())
}

fn refused(files: &Files) -> String {
    planned(files).unwrap_err().to_string()
}

/// `files`, with new content for the file that ends in `ending`.
fn with<'a>(mut files: Files<'a>, ending: &str, bytes: &'a [u8]) -> Files<'a> {
    files.iter_mut().find(|(path, _)| path.ends_with(ending)).unwrap().1 = bytes;
    files
}

/// `files` without the files that end in `ending`.
fn without<'a>(mut files: Files<'a>, ending: &str) -> Files<'a> {
    let before = files.len();
    files.retain(|(path, _)| !path.ends_with(ending));
    assert!(files.len() < before);
    files
}

fn images<'a>(plan: &'a PackPlan, split: &str) -> Vec<(&'a str, i32)> {
    let (_, items) = plan.splits.iter().find(|(name, _)| name == split).unwrap();
    items.iter().map(|item| (file_name(&item.image), item.label)).collect()
}

#[test]
fn class_folders_are_numbered_as_torchvision_does() {
    let plan = planned(&folders()).unwrap();
    assert_eq!((plan.name.as_str(), plan.kind), ("ImageNet", SetKind::Photographs));
    assert_eq!(plan.class_names, ["n01440764", "n01443537"]);
    let train = [("n01440764_18.JPEG", 0), ("n01440764_2.JPEG", 0), ("n01443537_7.JPEG", 1)];
    assert_eq!(images(&plan, "train"), train);
    assert_eq!(
        images(&plan, "test"),
        [("ILSVRC2012_val_00000002.JPEG", 0), ("ILSVRC2012_val_00000001.JPEG", 1)]
    );
    assert_eq!(plan.splits[0].1[0].image, "imagenet/train/n01440764/n01440764_18.JPEG");
    assert_eq!(plan.notes["validation_labels"], "folders");
}

#[test]
fn the_published_archives_are_labelled_by_the_devkit() {
    let plan = planned(&archives()).unwrap();
    assert_eq!(plan.class_names, ["n02100735 English setter", "n02119789 kit fox, Vulpes macrotis"]);
    assert_eq!(images(&plan, "train"), [("n02100735_1.JPEG", 0), ("n02119789_3.JPEG", 1)]);
    let test = [
        ("ILSVRC2012_val_00000002.JPEG", 0),
        ("ILSVRC2012_val_00000001.JPEG", 1),
        ("ILSVRC2012_val_00000003.JPEG", 1),
    ];
    assert_eq!(images(&plan, "test"), test);
    assert_eq!(plan.notes["validation_labels"], "ILSVRC2012_validation_ground_truth.txt");
}

#[test]
fn kaggle_s_tree_is_labelled_by_its_csv() {
    let plan = planned(&kaggle()).unwrap();
    assert_eq!(plan.class_names, ["n01440764 tench, Tinca tinca", "n03995372 power drill"]);
    assert_eq!(
        images(&plan, "test"),
        [("ILSVRC2012_val_00000002.JPEG", 0), ("ILSVRC2012_val_00000001.JPEG", 1)]
    );
    assert_eq!(plan.notes["images_without_labels"], 1);
    assert_eq!(plan.notes["validation_labels"], "LOC_val_solution.csv");
    let crlf = "ImageId,PredictionString\r\nILSVRC2012_val_00000001,n03995372 1 2 3 4 \r\n\
                ILSVRC2012_val_00000002,n01440764 1 2 3 4 \r\n";
    assert_eq!(planned(&with(kaggle(), "solution.csv", crlf.as_bytes())).unwrap().splits, plan.splits);
}

#[test]
fn one_archive_alone_gives_its_split() {
    let train: Files = archives().into_iter().filter(|(path, _)| path.contains("train")).collect();
    let plan = planned(&train).unwrap();
    assert_eq!((plan.splits.len(), plan.splits[0].0.as_str()), (1, "train"));
    assert_eq!(plan.class_names, ["n02100735", "n02119789"]);
    let val: Files = archives().into_iter().filter(|(path, _)| !path.contains("train")).collect();
    let plan = planned(&val).unwrap();
    assert_eq!((plan.splits.len(), plan.splits[0].0.as_str(), plan.class_names.len()), (1, "test", 2));
}

#[test]
fn subsets_with_other_file_names_are_told_apart_by_the_folder_above() {
    let plan = planned(&vec![
        ("tiny/train/n01443537/a ä.JPEG", b"".as_slice()),
        ("tiny/train/n01629819/b.JPEG", b""),
        ("tiny/val/n01443537/val_0.JPEG", b""),
        ("tiny/val/n01629819/val_0.JPEG", b""),
    ]);
    let plan = plan.unwrap();
    assert_eq!(images(&plan, "train"), [("a ä.JPEG", 0), ("b.JPEG", 1)]);
    assert_eq!(images(&plan, "test"), [("val_0.JPEG", 0), ("val_0.JPEG", 1)]);
}

#[test]
fn ground_truth_that_does_not_fit_the_images_is_refused() {
    let truth = |text: &'static [u8]| refused(&with(archives(), "ground_truth.txt", text));
    assert!(truth(b"1\n2\n").contains("ground_truth.txt: 2 lines for 3 validation images"));
    assert!(truth(b"1\n2\n1\n2\n").contains("4 lines for 3"));
    for bad in ["1\n5\n1\n", "1\n0\n1\n", "1\n1001\n1\n", "1\n-1\n1\n", "1\nx\n1\n"] {
        assert!(truth(bad.as_bytes()).contains("line 2: expected a class of 1 to 4"), "{bad:?}");
    }
    // an empty line must not shift the classes of all later images
    for gap in ["1\n\n1\n", "1\n\n1\n2\n"] {
        assert!(truth(gap.as_bytes()).contains("line 2: expected a class, found an empty line"), "{gap:?}");
    }
    assert!(truth(b"1\n2\n3\n").contains("class n02110185 has validation images but no training images"));
    let mut renumbered = archives();
    renumbered[4].0 = "ILSVRC2012_img_val.tar/ILSVRC2012_val_00000004.JPEG";
    assert!(refused(&renumbered).contains("val_00000004.JPEG: expected image 3 here"));
}

#[test]
fn missing_ground_truth_is_named_with_the_hint() {
    let neither = refused(&without(without(archives(), "ground_truth.txt"), "meta.mat"));
    assert!(neither.contains("3 validation images are outside class folders"), "{neither}");
    assert!(
        neither.contains("ILSVRC2012_devkit_t12.tar.gz") && neither.contains("LOC_val_solution.csv"),
        "{neither}"
    );
    assert!(refused(&without(archives(), "meta.mat")).contains("without the devkit's meta.mat"));
    assert!(
        refused(&with(archives(), "meta.mat", b"half"))
            .contains("data/meta.mat: expected a MATLAB 5 file, found a text file")
    );
}

#[test]
fn a_csv_that_does_not_fit_the_images_is_refused() {
    let csv = |text: &'static str| refused(&with(kaggle(), "solution.csv", text.as_bytes()));
    assert!(csv("id,label\n").contains("line 1: expected ImageId,PredictionString"));
    let missing = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4\n";
    assert!(csv(missing).contains("val_00000002.JPEG: LOC_val_solution.csv does not list it"));
    let more = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1\nILSVRC2012_val_00000002,n01440764 1\n\
                ILSVRC2012_val_00000003,n01440764 1\n";
    assert!(csv(more).contains("lists ILSVRC2012_val_00000003, which is missing"));
    let twice = "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1\nILSVRC2012_val_00000001,n01440764 1\n";
    assert!(csv(twice).contains("line 3: ILSVRC2012_val_00000001 occurs twice"));
    assert!(
        csv("ImageId,PredictionString\nILSVRC2012_val_00000001,tench 1\n")
            .contains("line 2: expected an image")
    );
    assert!(refused(&with(kaggle(), "mapping.txt", b"tench\n")).contains("mapping.txt: line 1: expected"));
}

#[test]
fn copies_unexpected_images_and_empty_inputs_are_refused() {
    let mut files = folders();
    files.push(("ILSVRC2012_img_train.tar/n01440764.tar/n01440764_2.JPEG", b""));
    assert!(refused(&files).contains("occurs twice"));
    let mut files = archives();
    files.push(("val/ILSVRC2012_val_00000003.JPEG", b""));
    assert!(refused(&files).contains("val/ILSVRC2012_val_00000003.JPEG: occurs twice"));
    let mut files = folders();
    files.push(("imagenet/train/tench/1.JPEG", b""));
    assert!(refused(&files).contains("tench/1.JPEG: expected"));
    assert!(refused(&vec![("README.txt", b"".as_slice())]).contains("no images of ImageNet inside"));
    let files: Files = folders().into_iter().filter(|(path, _)| !path.contains("train/n01443537")).collect();
    assert!(refused(&files).contains("class n01443537 has validation images"));
}
