//! Packing of the shared archives (in the folder EQR_SHARED, by default `../shared`).

use std::collections::BTreeSet;
use std::path::Path;

use eqr_datasets::packing::{Resize, pack};
use eqr_datasets::sources::{ADE20K, CIFAR10, CLASS_FOLDERS, Source};
use eqr_datasets::{Pack, pack as packs};

use crate::common::{shared_archive, spec};

/// Packs and verifies; returns the pack and the numbers of images in its splits.
fn packed(source: &Source, archive: &Path, resize: Resize) -> (Pack, Vec<(&'static str, usize)>) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set.h5");
    pack(source, archive, &out, &spec(resize, 0.2, 0), &|_, _| {}).unwrap();
    let pack = packs::verify(&out).unwrap();
    let splits = pack.splits.iter().map(|split| (split.name, split.len())).collect();
    (pack, splits)
}

#[test]
fn cifar10() {
    let Some(archive) = shared_archive("cifar10-jpg.tar.gz") else { return };
    let (pack, splits) = packed(&CIFAR10, &archive, Resize::Keep);
    assert_eq!(splits, [("train", 50_000), ("test", 10_000)]);
    assert_eq!(pack.name, "CIFAR10");
    assert_eq!(pack.split("test").unwrap().side(), Some(32));
    // the published statistics of the training images, which JPEG changes only a little
    let published = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);
    for channel in 0..3 {
        assert!((pack.mean[channel] - published.0[channel]).abs() < 2e-3, "{:?}", pack.mean);
        assert!((pack.std[channel] - published.1[channel]).abs() < 2e-3, "{:?}", pack.std);
    }
    for class in 0..10 {
        let count = pack.split("train").unwrap().labels.iter().filter(|&&label| label == class).count();
        assert_eq!(count, 5_000);
    }
}

#[test]
fn tiny_imagenet() {
    let Some(archive) = shared_archive("tiny-imagenet-100x120.tar.gz") else { return };
    let (pack, splits) = packed(&CLASS_FOLDERS, &archive, Resize::Keep);
    assert_eq!(splits, [("train", 12_000), ("test", 5_000)]);
    assert_eq!((pack.class_names.len(), pack.split("train").unwrap().side()), (100, Some(64)));
}

#[test]
fn caltech101_and_textures() {
    let Some(archive) = shared_archive("caltech101-101x20.tar.gz") else { return };
    let (pack, splits) = packed(&CLASS_FOLDERS, &archive, Resize::ShortSide(96));
    assert_eq!(splits, [("train", 101 * 16), ("test", 101 * 4)]);
    let split = pack.split("train").unwrap();
    assert!(split.side().is_none(), "photographs of several sizes");
    assert!((0..split.len()).all(|index| split.size(index).into_iter().min() <= Some(96)));
    let Some(archive) = shared_archive("dtd-10x30.tar.gz") else { return };
    let (pack, splits) = packed(&CLASS_FOLDERS, &archive, Resize::Square(48));
    assert_eq!(splits, [("train", 240), ("test", 60)]);
    assert_eq!(pack.load().unwrap().train.side(), 48);
}

#[test]
fn street_scenes_in_the_layout_of_ade20k() {
    let Some(archive) = shared_archive("camvid-ade-layout.tar.gz") else { return };
    let (pack, splits) = packed(&ADE20K, &archive, Resize::Keep);
    assert_eq!(splits, [("train", 367), ("test", 101)]);
    let split = pack.split("test").unwrap();
    let mut ids = BTreeSet::new();
    for index in 0..split.len() {
        let mask = split.mask(index).unwrap().unwrap();
        assert_eq!([mask.height() as usize, mask.width() as usize], split.size(index));
        ids.extend(mask.into_raw());
    }
    assert_eq!(ids, (0..=11).collect(), "void and eleven classes");
}
