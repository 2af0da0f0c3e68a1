//! Code that the fuzz targets share.

pub mod choices;
pub mod generated_pack;
#[path = "../../tests/it/placed.rs"]
pub mod placed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eqr_datasets::sources::{
    ADE20K, AIRCRAFT, CIFAR10, CIFAR100, DIEBENCH, DTD, FOOD101, IMAGENET, Listing, Options, PETS, SUN397,
    Source,
};

/// Writes `data` to a file. It stays until the next call.
pub fn write_input(data: &[u8]) -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let path = FILE.get_or_init(|| tempfile::tempdir().expect("a temporary folder").keep().join("input"));
    fs::write(path, data).expect("a file in a temporary folder");
    path
}

/// The files of a source.
pub struct Layout {
    pub source: &'static Source,
    /// The files that are read before any image.
    pub lists: &'static [&'static str],
    pub others: &'static [&'static str],
}

/// Layouts with lists.
pub const LAYOUTS: [Layout; 12] = [
    Layout {
        source: &CIFAR10,
        lists: &[
            "c/batches.meta",
            "c/data_batch_1",
            "c/data_batch_2",
            "c/data_batch_3",
            "c/data_batch_4",
            "c/data_batch_5",
            "c/test_batch",
        ],
        others: &[],
    },
    Layout {
        source: &CIFAR100,
        lists: &["c/fine_label_names.txt", "c/train.bin", "c/test.bin"],
        others: &[],
    },
    Layout {
        source: &FOOD101,
        lists: &["meta/classes.txt", "meta/train.txt", "meta/test.txt"],
        others: &FOOD,
    },
    Layout {
        source: &FOOD101,
        lists: &["meta/classes.txt", "meta/train.json", "meta/test.json"],
        others: &FOOD,
    },
    Layout {
        source: &SUN397,
        lists: &["ClassName.txt", "Training_01.txt", "Testing_01.txt"],
        others: &["SUN397/a/abbey/sun_1.jpg", "SUN397/a/abbey/sun_2.jpg", "SUN397/b/bar/inner/sun_3.jpg"],
    },
    Layout {
        source: &DTD,
        lists: &["labels/train1.txt", "labels/val1.txt", "labels/test1.txt"],
        others: &[
            "images/banded/banded_0001.jpg",
            "images/banded/banded_0002.jpg",
            "images/woven/woven_0003.jpg",
        ],
    },
    Layout {
        source: &PETS,
        lists: &["annotations/trainval.txt", "annotations/test.txt"],
        others: &["images/Abyssinian_1.jpg", "images/Abyssinian_2.jpg", "images/pug_3.jpg"],
    },
    Layout {
        source: &AIRCRAFT,
        lists: &[
            "data/variants.txt",
            "data/images_variant_train.txt",
            "data/images_variant_val.txt",
            "data/images_variant_test.txt",
        ],
        others: &["data/images/0000001.jpg", "data/images/0000002.jpg", "data/images/0000003.jpg"],
    },
    Layout {
        source: &IMAGENET,
        lists: &["devkit/data/meta.mat", "devkit/data/ILSVRC2012_validation_ground_truth.txt"],
        others: &VALIDATION,
    },
    Layout {
        source: &IMAGENET,
        lists: &["LOC_synset_mapping.txt", "LOC_val_solution.csv"],
        others: &VALIDATION,
    },
    Layout {
        source: &ADE20K,
        lists: &["objectInfo150.txt"],
        others: &[
            "images/training/a.jpg",
            "annotations/training/a.png",
            "images/validation/b.jpg",
            "annotations/validation/b.png",
        ],
    },
    Layout {
        source: &DIEBENCH,
        lists: &["train_images.npy", "train_labels.npy", "val_images.npy", "val_labels.npy"],
        others: &[
            "02691156/a/image_0.jpg",
            "02691156/a/latent_0.npy",
            "02691156/b/image_0.jpg",
            "02691156/b/latent_0.npy",
        ],
    },
];

const FOOD: [&str; 3] = ["images/apple_pie/1.jpg", "images/apple_pie/2.jpg", "images/waffles/3.jpg"];
const VALIDATION: [&str; 2] = ["train/n01440764/n01440764_1.JPEG", "val/ILSVRC2012_val_00000001.JPEG"];

/// The parts of `data` between `====`, then the last one again and again.
pub fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    let mut last = data;
    std::iter::from_fn(move || {
        if let Some(data) = rest.take() {
            let end = data.windows(4).position(|window| window == b"====");
            last = &data[..end.unwrap_or(data.len())];
            rest = end.map(|end| &data[end + 4..]);
        }
        Some(last)
    })
}

/// Calls the plan of `source` with these members and lists.
pub fn plan(source: &Source, mut paths: Vec<String>, lists: Vec<(&str, &[u8])>) {
    paths.extend(lists.iter().map(|(path, _)| path.to_string()));
    paths.sort();
    paths.dedup();
    let members = paths.into_iter().map(|path| (path, 1)).collect();
    let lists = lists.into_iter().map(|(path, bytes)| (path.to_owned(), bytes.to_vec())).collect();
    let listing = Listing { input: Path::new("input"), members, lists, kinds: BTreeMap::new() };
    let _ = (source.plan)(&listing, &Options { name: None, test_fraction: 0.25, seed: 3 });
}
