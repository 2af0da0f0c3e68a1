//! SUN397 (Xiao, Hays, Ehinger, Oliva and Torralba, CVPR 2010), partition 1 of its ten.

use super::layout::{self, Entry, SplitList};
use super::lists::{self, Classes, Line, ends_in};
use super::plan::{About, Listing, Options, Plan, Source};
use crate::error::Result;

/// List of the classes, one folder a line.
const CLASSES: &str = "ClassName.txt";
/// Lists of partition 1.
const SPLITS: [(&str, &str); 2] = [("train", "Training_01.txt"), ("test", "Testing_01.txt")];

/// SUN397 as published: classes in the order of `ClassName.txt`, splits of partition 1. The partition takes 100 images
/// of a class; the others are left out.
pub const SUN397: Source = Source {
    kind: "sun397",
    is_list: |path| ends_in(path, CLASSES) || SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    plan,
    records: None,
    side: None,
    about: About {
        name: "SUN397",
        expects: "a folder with SUN397.tar.gz and Partitions.zip, or with what they hold:\n\
                  SUN397/<letter>/<class>/sun_*.jpg (also <letter>/<class>/<sub-class>/)\n\
                  ClassName.txt\n\
                  Training_01.txt, Testing_01.txt (from Partitions.zip)",
        sizes: "19,850 train / 19,850 test (partition 1 of 10; 108,754 images in all)",
        download: "39 GB",
        described: "Xiao, Hays, Ehinger, Oliva, Torralba: SUN Database: Large-scale Scene Recognition from Abbey to Zoo, \
                    CVPR 2010; vision.princeton.edu/projects/2010/SUN",
        licence: "for research purposes only",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<Plan> {
    let classes = lists::require(listing, CLASSES)?.classes()?;
    let splits = SPLITS.into_iter().map(|(split, end)| split_list(listing, split, end, &classes));
    let names = classes.names.iter().map(|folder| name(folder).to_string()).collect();
    layout::plan("SUN397", listing, options, names, "", splits.collect::<Result<_>>()?)
}

/// `apartment_building/outdoor` of the folder `/a/apartment_building/outdoor`.
fn name(folder: &str) -> &str {
    let below = folder.trim_start_matches('/');
    below.split_once('/').map_or(below, |(_letter, name)| name)
}

/// Lines `/a/abbey/sun_aakbdcgfpksytcwj.jpg`.
fn split_list<'a>(listing: &'a Listing, split: &'static str, end: &str, classes: &Classes) -> Result<SplitList<'a>> {
    let list = lists::require(listing, end)?;
    let entry = |Line { number, text }: Line| {
        let (folder, _) = text.rsplit_once('/').unwrap_or_default();
        match classes.label(folder) {
            Ok(label) => Ok(Entry { image: text.trim_start_matches('/').to_string(), label, line: Some(number) }),
            Err(reason) => Err(list.error_at(number, format!("{text}: {reason}"))),
        }
    };
    let entries = list.lines()?.into_iter().map(entry).collect::<Result<_>>()?;
    Ok(SplitList { split, list, entries })
}
