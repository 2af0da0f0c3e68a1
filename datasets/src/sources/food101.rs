//! Food-101 (Bossard, Guillaumin and Van Gool, ECCV 2014).

use std::collections::BTreeMap;

use super::layout::{self, Entry, SplitList};
use super::lists::{self, Classes, List, ends_in};
use super::plan::{About, Listing, Options, Plan, Source};
use crate::error::Result;

/// Food-101 as published: classes in the order of `classes.txt`, splits from the `.txt` lists, else from the `.json` ones.
pub const FOOD101: Source = Source {
    kind: "food101",
    is_list: |path| {
        let lists = ["classes.txt", "train.txt", "test.txt", "train.json", "test.json"];
        lists.iter().any(|list| ends_in(path, &format!("meta/{list}")))
    },
    plan,
    records: None,
    side: None,
    about: About {
        name: "Food101",
        expects: "food-101.tar.gz, or the folder food-101 that it holds:\n\
                  images/<class>/<id>.jpg\n\
                  meta/classes.txt\n\
                  meta/train.txt, meta/test.txt (or train.json, test.json)",
        sizes: "75,750 train / 25,250 test",
        download: "5.0 GB",
        described: "Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests, \
                    ECCV 2014; data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
        licence: "scientific fair use; the images are Foodspotting's and their owners', not the authors' to license",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<Plan> {
    let classes = lists::require(listing, "meta/classes.txt")?.classes()?;
    let splits = vec![split(listing, "train", &classes)?, split(listing, "test", &classes)?];
    layout::plan("Food101", listing, options, classes.to_names(), "images/", splits)
}

fn split<'a>(listing: &'a Listing, split: &'static str, classes: &Classes) -> Result<SplitList<'a>> {
    let text = format!("meta/{split}.txt");
    let (list, entries) = match (lists::find(listing, &text)?, lists::find(listing, &format!("meta/{split}.json"))?) {
        (None, Some(list)) => (list, from_json(&list, classes)?),
        _ => {
            let list = lists::require(listing, &text)?;
            (list, from_text(&list, classes)?)
        }
    };
    Ok(SplitList { split, list, entries })
}

/// Lines `apple_pie/1005649`.
fn from_text(list: &List, classes: &Classes) -> Result<Vec<Entry>> {
    let entry = |line: lists::Line| {
        entry(line.text, classes)
            .map(|entry| Entry { line: Some(line.number), ..entry })
            .map_err(|reason| list.error_at(line.number, reason))
    };
    list.lines()?.into_iter().map(entry).collect()
}

/// One object `{"apple_pie": ["apple_pie/1005649", ...], ...}`.
fn from_json(list: &List, classes: &Classes) -> Result<Vec<Entry>> {
    let names: BTreeMap<String, Vec<String>> = serde_json::from_slice(list.bytes)
        .map_err(|error| list.error(format!("expected an object of lists of images by class: {error}")))?;
    names.values().flatten().map(|name| entry(name, classes).map_err(|reason| list.error(reason))).collect()
}

/// The image `apple_pie/1005649`.
fn entry(name: &str, classes: &Classes) -> std::result::Result<Entry, String> {
    let (class, _) = name.split_once('/').ok_or_else(|| format!("expected <class>/<id>, found {name:?}"))?;
    Ok(Entry { image: format!("images/{name}.jpg"), label: classes.label(class)?, line: None })
}
