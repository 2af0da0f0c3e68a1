//! Training and test objects: from SIE's split files, or drawn by the seed if these files are missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::formats::npy::{self, Values};
use crate::formats::text_list::TextList;
use crate::sources::listing::Listing;
use crate::sources::member_path::last_components;
use crate::sources::seeded_split::SeededSplit;
use crate::sources::source::Options;

/// SIE's split files: object paths and labels of the training split, then of the test split.
pub(super) const FILES: [&str; 4] =
    ["train_images.npy", "train_labels.npy", "val_images.npy", "val_labels.npy"];

/// Synset and name of an object.
pub(super) type ObjectKey<'a> = (&'a str, &'a str);

/// Training and test objects with their labels.
pub(super) struct ObjectSplit<'a> {
    pub class_names: Vec<String>,
    pub train: Vec<(ObjectKey<'a>, i32)>,
    pub test: Vec<(ObjectKey<'a>, i32)>,
    pub notes: Value,
}

/// Splits the sorted `objects`.
///
/// # Errors
/// [`Error::Format`] and [`Error::Member`] if split files are incomplete or do not match the objects.
pub(super) fn split<'a>(
    listing: &Listing,
    options: &Options,
    objects: &[ObjectKey<'a>],
) -> Result<ObjectSplit<'a>> {
    let mut files = Vec::new();
    for file in FILES {
        files.push(listing.find_list(file)?);
    }
    match files[..] {
        [Some(train), Some(train_labels), Some(val), Some(val_labels)] => {
            let train = listed_objects(&train, &train_labels)?;
            let test = listed_objects(&val, &val_labels)?;
            from_files(listing, objects, &train, &test)
        }
        [None, None, None, None] => from_seed(SeededSplit::from_options(options)?, listing, objects),
        _ => {
            let missing =
                FILES.iter().zip(&files).find(|(_, file)| file.is_none()).map_or("", |(name, _)| name);
            let reason =
                format!("{missing} is missing beside SIE's other split files\nhint: give all four or none");
            Err(Error::format(listing.input, reason))
        }
    }
}

/// Splits the objects of each class at random.
fn from_seed<'a>(
    seeded: SeededSplit,
    listing: &Listing,
    objects: &[ObjectKey<'a>],
) -> Result<ObjectSplit<'a>> {
    let classes: Vec<&[ObjectKey]> = objects.chunk_by(|a, b| a.0 == b.0).collect();
    let (train, test) = seeded.split_classes(classes.iter().copied());
    if test.is_empty() {
        let reason = "every synset has only one object: nothing is left for the test split";
        return Err(Error::format(listing.input, reason));
    }
    let class_names = classes.iter().map(|class| class[0].0.to_owned()).collect();
    Ok(ObjectSplit { class_names, train, test, notes: json!({ "split": seeded.note() }) })
}

/// An object in a split file.
struct ListedObject {
    synset: String,
    name: String,
    label: i64,
    /// The file with its label, for error messages.
    file: String,
}

/// The objects of a split file with their labels.
fn listed_objects(images: &TextList, labels: &TextList) -> Result<Vec<ListedObject>> {
    let array = |list: &TextList| npy::read(list.bytes).map_err(|reason| list.error(reason));
    let Values::Texts(objects) = array(images)?.values else {
        return Err(images.error("expected paths of objects, found numbers"));
    };
    let Values::Integers(numbers) = array(labels)?.values else {
        return Err(labels.error("expected integers, found other values"));
    };
    if objects.len() != numbers.len() {
        let reason = format!("{} labels for the {} objects of {}", numbers.len(), objects.len(), images.path);
        return Err(labels.error(reason));
    }
    let listed = |(object, label): (&String, i64)| match last_components(object.trim_end_matches('/')) {
        Some([synset, name]) => {
            Ok(ListedObject { synset: synset.into(), name: name.into(), label, file: labels.path.into() })
        }
        None => Err(images.error(format!("expected paths that end in <synset>/<object>, found {object:?}"))),
    };
    objects.iter().zip(numbers).map(listed).collect()
}

/// Splits the objects by SIE's files. Objects that are in none of the files are left out and counted.
fn from_files<'a>(
    listing: &Listing,
    objects: &[ObjectKey<'a>],
    train: &[ListedObject],
    test: &[ListedObject],
) -> Result<ObjectSplit<'a>> {
    let class_names = class_names(listing, train.iter().chain(test))?;
    let mut taken = BTreeSet::new();
    let mut find = |listed: &ListedObject| {
        let key = (listed.synset.as_str(), listed.name.as_str());
        let named = format!("{}/{}", listed.synset, listed.name);
        let Ok(at) = objects.binary_search(&key) else {
            return Err(Error::member(listing.input, named, "is in the split files but is missing"));
        };
        match taken.insert(at) {
            true => Ok((objects[at], listed.label as i32)),
            false => Err(Error::member(listing.input, named, "is in the split files twice")),
        }
    };
    let train = train.iter().map(&mut find).collect::<Result<Vec<_>>>()?;
    let test = test.iter().map(&mut find).collect::<Result<Vec<_>>>()?;
    if train.is_empty() || test.is_empty() {
        return Err(Error::format(listing.input, "SIE's split files list no objects for one of the splits"));
    }
    let unnamed = objects.len() - taken.len();
    let notes = json!({ "split": "SIE's split files", "objects_in_no_split": unnamed });
    Ok(ObjectSplit { class_names, train, test, notes })
}

/// The synset of each label. Labels must be 0, 1, ..., each with exactly one synset.
fn class_names<'a>(
    listing: &Listing,
    objects: impl Iterator<Item = &'a ListedObject>,
) -> Result<Vec<String>> {
    let (mut synsets, mut labels) = (BTreeMap::new(), BTreeMap::new());
    for listed in objects {
        let synset = *synsets.entry(listed.label).or_insert(listed.synset.as_str());
        let label = *labels.entry(listed.synset.as_str()).or_insert(listed.label);
        if synset != listed.synset || label != listed.label {
            let object = format!("{}/{}", listed.synset, listed.name);
            let other = format!("elsewhere label {label} means synset {synset}");
            let reason = format!("label {} of {object}, but {other}", listed.label);
            return Err(Error::member(listing.input, &listed.file, reason));
        }
    }
    match synsets.keys().zip(0..).find(|&(&label, expected)| label != expected) {
        None => Ok(synsets.into_values().map(str::to_owned).collect()),
        Some((label, expected)) => {
            let reason =
                format!("expected labels 0, 1, ... without gaps, found {label} instead of {expected}");
            Err(Error::format(listing.input, reason))
        }
    }
}
