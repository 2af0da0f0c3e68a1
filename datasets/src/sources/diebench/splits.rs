//! Which object is for training and which for the test: by SIE's files where they are there, else by the seed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ObjectKey;
use crate::error::{Error, Result};
use crate::sources::by_seed::BySeed;
use crate::sources::lists::{self, List};
use crate::sources::npy::{self, Values};
use crate::sources::plan::{Listing, Options};
use crate::sources::suffix::last_parts;

/// SIE's files: object paths and labels of the training split, then of the test split.
pub(super) const FILES: [&str; 4] = ["train_images.npy", "train_labels.npy", "val_images.npy", "val_labels.npy"];

/// Objects with their labels.
pub(super) struct Split<'a> {
    pub class_names: Vec<String>,
    pub train: Vec<(ObjectKey<'a>, i32)>,
    pub test: Vec<(ObjectKey<'a>, i32)>,
    pub notes: Value,
}

/// The split of `objects`, which are sorted.
pub(super) fn of<'a>(listing: &Listing, options: &Options, objects: &[ObjectKey<'a>]) -> Result<Split<'a>> {
    let mut files = Vec::new();
    for file in FILES {
        files.push(lists::find(listing, file)?);
    }
    match files[..] {
        [Some(train), Some(train_labels), Some(val), Some(val_labels)] => {
            let train = entries(&train, &train_labels)?;
            let test = entries(&val, &val_labels)?;
            by_files(listing, objects, &train, &test)
        }
        [None, None, None, None] => by_seed(BySeed::of(options)?, listing, objects),
        _ => {
            let missing = FILES.iter().zip(&files).find(|(_, file)| file.is_none()).map_or("", |(name, _)| name);
            let reason = format!("{missing} is missing beside SIE's other split files\nhint: give all four or none");
            Err(Error::format(listing.input, reason))
        }
    }
}

/// Of each class's objects a share, drawn by the seed, is for the test.
fn by_seed<'a>(by_seed: BySeed, listing: &Listing, objects: &[ObjectKey<'a>]) -> Result<Split<'a>> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    let mut class_names = Vec::new();
    for (label, class) in objects.chunk_by(|a, b| a.0 == b.0).enumerate() {
        class_names.push(class[0].0.to_owned());
        let (in_train, in_test) = by_seed.split(label, class.len());
        let labelled = |position: usize| (class[position], label as i32);
        train.extend(in_train.into_iter().map(labelled));
        test.extend(in_test.into_iter().map(labelled));
    }
    if test.is_empty() {
        return Err(Error::format(
            listing.input,
            "every synset has but one object: nothing is left for the test split",
        ));
    }
    Ok(Split { class_names, train, test, notes: json!({ "split": by_seed.note() }) })
}

/// An object of a split file.
struct Entry {
    synset: String,
    name: String,
    label: i64,
    /// The file of labels, for messages.
    file: String,
}

/// The objects of a split file with their labels.
fn entries(images: &List, labels: &List) -> Result<Vec<Entry>> {
    let array = |list: &List| npy::read(list.bytes).map_err(|reason| list.error(reason));
    let Values::Texts(objects) = array(images)?.values else {
        return Err(images.error("expected paths of objects, found numbers"));
    };
    let Values::Integers(numbers) = array(labels)?.values else {
        return Err(labels.error("expected integers, found others"));
    };
    if objects.len() != numbers.len() {
        let reason = format!("{} labels for the {} objects of {}", numbers.len(), objects.len(), images.path);
        return Err(labels.error(reason));
    }
    let entry = |(object, label): (&String, i64)| match last_parts(object.trim_end_matches('/')) {
        Some([synset, name]) => Ok(Entry { synset: synset.into(), name: name.into(), label, file: labels.path.into() }),
        None => Err(images.error(format!("expected paths that end in <synset>/<object>, found {object:?}"))),
    };
    objects.iter().zip(numbers).map(entry).collect()
}

/// The split that the files name. Objects that none names are left out and counted.
fn by_files<'a>(listing: &Listing, objects: &[ObjectKey<'a>], train: &[Entry], test: &[Entry]) -> Result<Split<'a>> {
    let class_names = class_names(listing, train.iter().chain(test))?;
    let mut taken = BTreeSet::new();
    let mut find = |entry: &Entry| {
        let key = (entry.synset.as_str(), entry.name.as_str());
        let named = format!("{}/{}", entry.synset, entry.name);
        let Ok(at) = objects.binary_search(&key) else {
            return Err(Error::member(listing.input, named, "is named by the split files and is not there"));
        };
        match taken.insert(at) {
            true => Ok((objects[at], entry.label as i32)),
            false => Err(Error::member(listing.input, named, "stands in the split files twice")),
        }
    };
    let train = train.iter().map(&mut find).collect::<Result<Vec<_>>>()?;
    let test = test.iter().map(&mut find).collect::<Result<Vec<_>>>()?;
    if train.is_empty() || test.is_empty() {
        return Err(Error::format(listing.input, "SIE's split files name no objects for one of the splits"));
    }
    let unnamed = objects.len() - taken.len();
    let notes = json!({ "split": "SIE's split files", "objects_in_no_split": unnamed });
    Ok(Split { class_names, train, test, notes })
}

/// The synset of each label. Labels must be 0, 1, ... and mean one synset each.
fn class_names<'a>(listing: &Listing, entries: impl Iterator<Item = &'a Entry>) -> Result<Vec<String>> {
    let (mut synsets, mut labels) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        let synset = *synsets.entry(entry.label).or_insert(entry.synset.as_str());
        let label = *labels.entry(entry.synset.as_str()).or_insert(entry.label);
        if synset != entry.synset || label != entry.label {
            let object = format!("{}/{}", entry.synset, entry.name);
            let other = format!("elsewhere label {label} means synset {synset}");
            let reason = format!("label {} of {object}, but {other}", entry.label);
            return Err(Error::member(listing.input, &entry.file, reason));
        }
    }
    match synsets.keys().zip(0..).find(|&(&label, expected)| label != expected) {
        None => Ok(synsets.into_values().map(str::to_owned).collect()),
        Some((label, expected)) => {
            let reason = format!("expected labels 0, 1, ... without gaps, found {label} in place of {expected}");
            Err(Error::format(listing.input, reason))
        }
    }
}
