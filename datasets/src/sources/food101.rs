//! Food-101 (Bossard, Guillaumin and Van Gool, ECCV 2014).

use std::collections::BTreeMap;

use super::access::{Access, Download, Size};
use super::listed_splits::{self, ListedImage, ListedSplit};
use super::listing::Listing;
use super::member_path::ends_in;
use super::plan::PackPlan;
use super::source::{Options, Source, SourceInfo};
use crate::error::Result;
use crate::formats::text_list::{ClassList, TextList};

/// Food-101 as published: classes in the order of `classes.txt`, splits from the `.txt` lists or, if these
/// are missing, from the `.json` lists.
pub const FOOD101: Source = Source {
    kind: "food101",
    is_list: |path| {
        let lists = ["classes.txt", "train.txt", "test.txt", "train.json", "test.json"];
        lists.iter().any(|list| ends_in(path, &format!("meta/{list}")))
    },
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "Food101",
        expects: "food-101.tar.gz, or its folder food-101:\n\
                  images/<class>/<id>.jpg\n\
                  meta/classes.txt\n\
                  meta/train.txt, meta/test.txt (or train.json, test.json)",
        sizes: "75,750 train / 25,250 test",
        access: Access::Public(&[Download {
            url: "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            size: Size::Exact(4_996_278_331),
            sha256: Some("d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"),
        }]),
        described: "Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests, \
                    ECCV 2014; data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
        licence: "scientific fair use; images belong to Foodspotting and their owners, not to the authors",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let classes = listing.require_list("meta/classes.txt")?.classes()?;
    let splits = vec![split(listing, "train", &classes)?, split(listing, "test", &classes)?];
    listed_splits::plan("Food101", listing, options, classes.to_names(), "images/", splits)
}

/// A split from its text list, or from its JSON list if there is no text list.
fn split<'a>(listing: &'a Listing, split: &'static str, classes: &ClassList) -> Result<ListedSplit<'a>> {
    let text = format!("meta/{split}.txt");
    match (listing.find_list(&text)?, listing.find_list(&format!("meta/{split}.json"))?) {
        (None, Some(list)) => Ok(ListedSplit { split, images: from_json(&list, classes)?, list }),
        _ => ListedSplit::read(listing, split, &text, |name| listed(name, classes)),
    }
}

/// Reads the images of the JSON object `{"apple_pie": ["apple_pie/1005649", ...], ...}`.
fn from_json(list: &TextList, classes: &ClassList) -> Result<Vec<ListedImage>> {
    let names: BTreeMap<String, Vec<String>> = serde_json::from_slice(list.bytes).map_err(|error| {
        list.error(format!("expected an object with a list of images per class: {error}"))
    })?;
    let image = |name: &String| match listed(name, classes) {
        Ok((image, label)) => Ok(ListedImage { image, label, line: None }),
        Err(reason) => Err(list.error(reason)),
    };
    names.values().flatten().map(image).collect()
}

/// Path and label of an image such as `apple_pie/1005649`.
fn listed(name: &str, classes: &ClassList) -> std::result::Result<(String, i32), String> {
    let (class, _) = name.split_once('/').ok_or_else(|| format!("expected <class>/<id>, found {name:?}"))?;
    Ok((format!("images/{name}.jpg"), classes.label(class)?))
}
