//! ImageNet of ILSVRC 2012: class folders or the published archives, the validation images also flat.

mod classes;
#[cfg(test)]
mod tests;
mod validation;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use self::classes::Words;
use super::members::is_image;
use super::plan::{About, Item, Listing, Options, Plan, Source};
use super::suffix::{file_name, last_parts, without_archive_ending};
use crate::dataset::Kind;
use crate::error::{Error, Result};

/// ImageNet of ILSVRC 2012.
pub const IMAGENET: Source = Source {
    kind: "imagenet",
    is_list: |path| {
        let name = file_name(path);
        validation::LISTS.contains(&name) || classes::LISTS.contains(&name)
    },
    plan,
    records: None,
    side: None,
    about: About {
        name: "ImageNet",
        expects: "\
a folder with either, each as a tree or as the archive that is published
  train/n01440764/*.JPEG, also as ILSVRC/Data/CLS-LOC/train/..., or ILSVRC2012_img_train.tar
  val/n01440764/ILSVRC2012_val_*.JPEG; or flat, val/ILSVRC2012_val_*.JPEG or ILSVRC2012_img_val.tar, beside
    ILSVRC2012_devkit_t12.tar.gz (data/meta.mat, data/ILSVRC2012_validation_ground_truth.txt), or
    LOC_val_solution.csv
LOC_synset_mapping.txt or the devkit adds the names of classes",
        sizes: "1,281,167 train / 50,000 test (the validation images)",
        download: "148 GB train, 6.7 GB validation, 2.6 MB devkit",
        described: "Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge; image-net.org",
        licence: "non-commercial research and education (ImageNet's terms of access)",
    },
};

/// An image whose class is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Labelled<'a> {
    wnid: &'a str,
    /// File name.
    name: &'a str,
    path: &'a str,
}

/// The images of an input by what their paths say.
#[derive(Default)]
struct Images<'a> {
    train: Vec<Labelled<'a>>,
    /// Validation images in class folders.
    val: Vec<Labelled<'a>>,
    /// Validation images that lie flat: number and path.
    flat: Vec<(usize, &'a str)>,
    /// Test images, whose classes are not published.
    unlabelled: usize,
}

/// Training images by their folders, validation images by their folders or their ground truth.
fn plan(listing: &Listing, options: &Options) -> Result<Plan> {
    let mut images = images(listing)?;
    let words = classes::words(listing)?;
    let truth = validation::labels(listing, &mut images.flat, &words)?;
    let flat = images.flat.iter().zip(&truth.wnids);
    images.val.extend(flat.map(|(&(_, path), wnid)| Labelled { wnid, name: file_name(path), path }));
    for split in [&mut images.train, &mut images.val] {
        sort_and_check(listing, split)?;
    }
    let wnids = wnids(listing, &images)?;
    let splits = [("train", &images.train), ("test", &images.val)].into_iter().filter(|(_, split)| !split.is_empty());
    Ok(Plan {
        name: options.name.clone().unwrap_or_else(|| "ImageNet".into()),
        kind: Kind::Photographs,
        splits: splits.map(|(name, split)| (name.to_owned(), items(split, &wnids))).collect(),
        class_names: wnids.iter().map(|wnid| class_name(wnid, &words)).collect(),
        views: None,
        absent: Vec::new(),
        notes: json!({
            "split": "as in the source",
            "test": "the validation images",
            "validation_labels": truth.from,
            "images_without_labels": images.unlabelled,
        }),
    })
}

/// Sorts all images by what their paths say.
fn images<'a>(listing: &'a Listing) -> Result<Images<'a>> {
    let mut images = Images::default();
    let paths = listing.members.iter().map(|(path, _)| path.as_str());
    for path in paths.filter(|path| is_image(Path::new(path))) {
        let name = file_name(path);
        let number = validation::number(name);
        match (class_folder(path), number) {
            (Some((wnid, above)), _) => {
                let is_val = number.is_some() || matches!(above, "val" | "validation");
                let split = if is_val { &mut images.val } else { &mut images.train };
                split.push(Labelled { wnid, name, path });
            }
            (None, Some(number)) => images.flat.push((number, path)),
            (None, None) if name.starts_with("ILSVRC2012_test_") => images.unlabelled += 1,
            (None, None) => {
                let reason = "expected ILSVRC2012_val_XXXXXXXX.JPEG or an image in a class folder such as n01440764";
                return Err(Error::member(listing.input, path, reason));
            }
        }
    }
    Ok(images)
}

/// The class folder or class archive that an image lies in, and the folder above it.
fn class_folder(path: &str) -> Option<(&str, &str)> {
    let [folder, _] = last_parts(path)?;
    let above = last_parts(path).map_or("", |[above, _, _]| above);
    let wnid = without_archive_ending(folder);
    is_wnid(wnid).then_some((wnid, without_archive_ending(above)))
}

/// Whether this is a WordNet ID of a noun: `n` and eight digits.
fn is_wnid(text: &str) -> bool {
    text.strip_prefix('n').is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Sorts by class and file name, so that the order is one for every layout; refuses two copies of an image.
fn sort_and_check(listing: &Listing, split: &mut [Labelled]) -> Result<()> {
    split.sort_unstable();
    let twice = split.windows(2).find(|pair| (pair[0].wnid, pair[0].name) == (pair[1].wnid, pair[1].name));
    twice.map_or(Ok(()), |pair| {
        let reason = format!("is there twice, as {}, too\nhint: point INPUT at one copy", pair[0].path);
        Err(Error::member(listing.input, pair[1].path, reason))
    })
}

/// The classes, sorted, as torchvision numbers them: those of the training images, or of the validation images alone.
fn wnids<'a>(listing: &Listing, images: &Images<'a>) -> Result<Vec<&'a str>> {
    let of = |split: &[Labelled<'a>]| -> BTreeSet<&'a str> { split.iter().map(|image| image.wnid).collect() };
    let (train, val) = (of(&images.train), of(&images.val));
    if train.is_empty() && val.is_empty() {
        let reason = "no images of ImageNet inside\nhint: expected train/n01440764/*.JPEG or ILSVRC2012_img_train.tar";
        return Err(Error::format(listing.input, reason));
    }
    match val.iter().find(|wnid| !train.is_empty() && !train.contains(*wnid)) {
        None if train.is_empty() => Ok(val.into_iter().collect()),
        None => Ok(train.into_iter().collect()),
        Some(wnid) => {
            let reason = format!("class {wnid} has validation images and no training image");
            Err(Error::format(listing.input, reason))
        }
    }
}

/// The images with their labels.
fn items(split: &[Labelled], wnids: &[&str]) -> Vec<Item> {
    let classes = split.chunk_by(|a, b| a.wnid == b.wnid);
    let label = |class: &[Labelled]| wnids.binary_search(&class[0].wnid).unwrap_or_default() as i32;
    let item = |image: &Labelled, label| Item { image: image.path.to_owned(), label, mask: None, latents: None };
    classes.flat_map(|class| class.iter().map(move |image| item(image, label(class)))).collect()
}

/// `n01440764 tench, Tinca tinca`, or the number alone.
fn class_name(wnid: &str, words: &Words) -> String {
    words.words.get(wnid).map_or_else(|| wnid.to_owned(), |words| format!("{wnid} {words}"))
}
