//! Packs with a valid seal and inconsistent content are refused, and the error names the part.

use std::fs;
use std::path::Path;

use eqr_datasets::packing::{Resize, pack};
use eqr_datasets::sources::ADE20K;
use eqr_datasets::{Loader, Pack, pack as packs};
use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::common::spec;

/// Bytes of the seal.
const SEAL: usize = 512;

/// A pack of photographs of 5 x 4 pixels with masks, stored as files.
fn packed(folder: &Path) -> Vec<u8> {
    let input = folder.join("in");
    for (split, count) in [("training", 3), ("validation", 2)] {
        for kind in ["images", "annotations"] {
            fs::create_dir_all(input.join(kind).join(split)).unwrap();
        }
        for index in 0..count {
            let image = RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8 * 40, y as u8 * 60, index * 90]));
            image.save(input.join(format!("images/{split}/{index}.png"))).unwrap();
            let mask = GrayImage::from_pixel(5, 4, Luma([index + 1]));
            mask.save(input.join(format!("annotations/{split}/{index}.png"))).unwrap();
        }
    }
    pack(&ADE20K, &input, &folder.join("whole.h5"), &spec(Resize::Keep, 0.2, 0), &|_, _| {}).unwrap();
    fs::read(folder.join("whole.h5")).unwrap()
}

/// `pack` with a new valid seal, computed by the description of the format.
fn resealed(mut pack: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(pack[..SEAL].to_vec()).unwrap();
    let head: String =
        text.lines().take_while(|line| !line.starts_with("blake3")).map(|l| format!("{l}\n")).collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_bytes());
    let mut from = SEAL;
    for line in head.lines().filter_map(|line| line.strip_prefix("payload ")) {
        let (start, length) = line.split_once(' ').unwrap();
        let (start, length): (usize, usize) = (start.parse().unwrap(), length.parse().unwrap());
        hasher.update(&pack[from..start]);
        from = start + length;
    }
    hasher.update(&pack[from..]);
    let seal = format!("{head}blake3 {}\n", hasher.finalize().to_hex());
    pack[..SEAL].fill(b' ');
    pack[..seal.len()].copy_from_slice(seal.as_bytes());
    pack
}

fn little<const N: usize, T>(values: [T; N], bytes: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.into_iter().flat_map(bytes).collect()
}

#[test]
fn values_that_contradict_each_other_are_refused_behind_the_seal() {
    let folder = tempfile::tempdir().unwrap();
    let whole = packed(folder.path());
    let path = folder.path().join("bad.h5");
    let changed = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).expect("it stands in the pack");
        let mut pack = whole.clone();
        pack[at..at + to.len()].copy_from_slice(to);
        fs::write(&path, resealed(pack)).unwrap();
    };
    changed(b"0.png", b"0.png");
    packs::verify(&path).unwrap();

    let sizes = little([4u32, 5, 4, 5, 4, 5], u32::to_le_bytes);
    let refused = |from: &[u8], to: &[u8], says: &str| {
        changed(from, to);
        let message = Pack::open(&path).unwrap_err().to_string();
        assert!(message.contains(says) && message.contains("bad.h5"), "{message}");
    };
    refused(&sizes, &little([4u32, 6], u32::to_le_bytes), "train: mask 0 has 5 x 4 pixels, its image 6 x 4");
    refused(
        &sizes,
        &little([0u32], u32::to_le_bytes),
        "train/image_sizes: image 0: an image of 5 x 0 pixels",
    );
    refused(
        &sizes,
        &little([9999u32, 9999], u32::to_le_bytes),
        "train/image_sizes: image 0: 9999 x 9999 pixels",
    );
    let Pack { mean, std, .. } = Pack::open(folder.path().join("whole.h5")).unwrap();
    refused(&little(mean, f32::to_le_bytes), &f32::NAN.to_le_bytes(), "attribute mean: expected 3 numbers");
    refused(&little(std, f32::to_le_bytes), &0f32.to_le_bytes(), "attribute std: expected 3 numbers");
    // three names become two, and the first image is damaged: the error must not use another image's name
    changed(b"images/training/0.png\n", b"images/training/0.png ");
    let mut pack = fs::read(&path).unwrap();
    let image = pack.windows(4).position(|window| window == b"\x89PNG").unwrap();
    pack[image + 40] ^= 1;
    fs::write(&path, pack).unwrap();
    assert!(packs::verify(&path).unwrap_err().to_string().contains("train/names: 2 names for 3 images"));
}

#[test]
fn files_of_another_size_than_the_pack_says_are_refused_when_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut pack = packed(folder.path());
    // images and masks have the same wrong size, which only decoding can detect
    let sizes = little([4u32, 5, 4, 5, 4, 5], u32::to_le_bytes);
    let places: Vec<usize> =
        (0..pack.len() - sizes.len()).filter(|&at| pack[at..].starts_with(&sizes)).collect();
    assert_eq!(places.len(), 2, "sizes of the training images and of their masks");
    places
        .into_iter()
        .for_each(|at| pack[at..at + sizes.len()].copy_from_slice(&little([5u32; 6], u32::to_le_bytes)));
    let path = folder.path().join("bad.h5");
    fs::write(&path, resealed(pack)).unwrap();
    let opened = Pack::open(&path).unwrap();
    let split = opened.split("train").unwrap();
    let says = |result: eqr_datasets::Result<()>| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("its size differs from the size in the pack"), "{message}");
    };
    says(split.image(1).map(drop));
    says(split.mask(1).map(drop));
    says(split.load().map(drop));
    says(Loader::new(split.clone(), 4).squares(&[0]).map(drop));
}
