//! ImageNet (ILSVRC 2012): class folders or the published archives. The validation images may also be in one
//! folder without class folders.

mod class_words;
#[cfg(test)]
mod tests;
mod validation;

use std::collections::BTreeSet;

use serde_json::json;

use self::class_words::{ClassWords, is_wnid};
use super::access::Access;
use super::listing::Listing;
use super::member_path::{file_name, last_components, without_archive_ending};
use super::plan::{PackPlan, Sample};
use super::source::{Options, Source, SourceInfo};
use super::split_names::SplitRole;
use crate::error::{Error, Result};

/// ImageNet (ILSVRC 2012).
pub const IMAGENET: Source = Source {
    kind: "imagenet",
    is_list: |path| {
        let name = file_name(path);
        validation::LISTS.contains(&name) || class_words::LISTS.contains(&name)
    },
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "ImageNet",
        expects: "\
a folder with either or both, each as a tree or as the published archive
  train/n01440764/*.JPEG, also as ILSVRC/Data/CLS-LOC/train/..., or ILSVRC2012_img_train.tar
  val/n01440764/ILSVRC2012_val_*.JPEG; or flat, val/ILSVRC2012_val_*.JPEG or ILSVRC2012_img_val.tar, beside
    ILSVRC2012_devkit_t12.tar.gz (data/meta.mat, data/ILSVRC2012_validation_ground_truth.txt), or
    LOC_val_solution.csv
LOC_synset_mapping.txt or the devkit adds the class names",
        sizes: "1,281,167 train / 50,000 test (the validation images)",
        access: Access::Account {
            sizes: "148 GB train, 6.7 GB validation, 2.6 MB devkit",
            page: "https://image-net.org/download-images.php",
            steps: "\
sign up (free for research and education), open ILSVRC2012, and download into one folder:
  ILSVRC2012_img_train.tar         MD5 1d675b47d978889d74fa0da5fadfb00e
  ILSVRC2012_img_val.tar           MD5 29b22e2961454d5413ddabcf34fc5622
  ILSVRC2012_devkit_t12.tar.gz     MD5 fa75699e90414af021442c21a62c3abf",
        },
        described: "Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge; image-net.org",
        licence: "non-commercial research and education (ImageNet's terms of access)",
    },
};

/// An image with its class. WNIDs are WordNet ids, such as `n01440764`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Labelled<'a> {
    wnid: &'a str,
    /// File name.
    name: &'a str,
    path: &'a str,
}

/// The images of an input, grouped by their paths.
#[derive(Default)]
struct Images<'a> {
    train: Vec<Labelled<'a>>,
    /// Validation images in class folders.
    val: Vec<Labelled<'a>>,
    /// Validation images outside class folders: number and path.
    flat: Vec<(usize, &'a str)>,
    /// Test images. Their classes are not published.
    unlabelled: usize,
}

/// Labels training images by their folders, and validation images by their folders or by the ground truth.
fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let mut images = images(listing)?;
    let words = ClassWords::read(listing)?;
    let truth = validation::ground_truth(listing, &mut images.flat, &words)?;
    let flat = images.flat.iter().zip(&truth.wnids);
    images.val.extend(flat.map(|(&(_, path), wnid)| Labelled { wnid, name: file_name(path), path }));
    for split in [&mut images.train, &mut images.val] {
        sort_and_check(listing, split)?;
    }
    let wnids = wnids(listing, &images)?;
    let splits =
        [("train", &images.train), ("test", &images.val)].into_iter().filter(|(_, split)| !split.is_empty());
    let splits = splits.map(|(name, split)| (name.to_owned(), samples(split, &wnids))).collect();
    let class_names = wnids.iter().map(|wnid| words.class_name(wnid)).collect();
    let notes = json!({
        "split": "as in the source",
        "test": "the validation images",
        "validation_labels": truth.origin,
        "images_without_labels": images.unlabelled,
    });
    Ok(PackPlan::photographs(options.name_or("ImageNet"), class_names, splits, notes))
}

/// Assigns all images to splits by their paths.
fn images<'a>(listing: &'a Listing) -> Result<Images<'a>> {
    let mut images = Images::default();
    for path in listing.paths().filter(|path| listing.is_image(path)) {
        let name = file_name(path);
        let number = validation::image_number(name);
        match (class_folder(path), number) {
            (Some((wnid, above)), _) => {
                let is_val = number.is_some() || SplitRole::of(above) == Some(SplitRole::Val);
                let split = if is_val { &mut images.val } else { &mut images.train };
                split.push(Labelled { wnid, name, path });
            }
            (None, Some(number)) => images.flat.push((number, path)),
            (None, None) if name.starts_with("ILSVRC2012_test_") => images.unlabelled += 1,
            (None, None) => {
                let reason =
                    "expected ILSVRC2012_val_XXXXXXXX.JPEG or an image in a class folder such as n01440764";
                return Err(Error::member(listing.input, path, reason));
            }
        }
    }
    Ok(images)
}

/// The WNID of the class folder or class archive around an image, and the name of the folder above it.
fn class_folder(path: &str) -> Option<(&str, &str)> {
    let [folder, _] = last_components(path)?;
    let above = last_components(path).map_or("", |[above, _, _]| above);
    let wnid = without_archive_ending(folder);
    is_wnid(wnid).then_some((wnid, without_archive_ending(above)))
}

/// Sorts by class and file name, so that the order is the same for every layout. Refuses a second copy of an
/// image.
fn sort_and_check(listing: &Listing, split: &mut [Labelled]) -> Result<()> {
    split.sort_unstable();
    let twice = split.windows(2).find(|pair| (pair[0].wnid, pair[0].name) == (pair[1].wnid, pair[1].name));
    twice.map_or(Ok(()), |pair| {
        let reason = format!("occurs twice, also as {}\nhint: point INPUT at one copy", pair[0].path);
        Err(Error::member(listing.input, pair[1].path, reason))
    })
}

/// The classes in sorted order, which is torchvision's numbering. They are the classes of the training
/// images, or of the validation images if there are no training images.
fn wnids<'a>(listing: &Listing, images: &Images<'a>) -> Result<Vec<&'a str>> {
    let classes =
        |split: &[Labelled<'a>]| -> BTreeSet<&'a str> { split.iter().map(|image| image.wnid).collect() };
    let (train, val) = (classes(&images.train), classes(&images.val));
    if train.is_empty() && val.is_empty() {
        let reason =
            "no images of ImageNet inside\nhint: expected train/n01440764/*.JPEG or ILSVRC2012_img_train.tar";
        return Err(Error::format(listing.input, reason));
    }
    match val.iter().find(|wnid| !train.is_empty() && !train.contains(*wnid)) {
        None if train.is_empty() => Ok(val.into_iter().collect()),
        None => Ok(train.into_iter().collect()),
        Some(wnid) => {
            let reason = format!("class {wnid} has validation images but no training images");
            Err(Error::format(listing.input, reason))
        }
    }
}

/// The images with their labels.
fn samples(split: &[Labelled], wnids: &[&str]) -> Vec<Sample> {
    let classes = split.chunk_by(|a, b| a.wnid == b.wnid);
    let label = |class: &[Labelled]| wnids.binary_search(&class[0].wnid).unwrap_or_default() as i32;
    classes
        .flat_map(|class| class.iter().map(move |image| Sample::labelled(image.path, label(class))))
        .collect()
}
