//! SUN397 (Xiao, Hays, Ehinger, Oliva and Torralba, CVPR 2010), partition 1 of 10.

use super::access::{Access, Download, Size};
use super::listed_splits::{self, ListedSplit};
use super::listing::Listing;
use super::member_path::ends_in;
use super::plan::PackPlan;
use super::source::{Options, Source, SourceInfo};
use crate::error::Result;

/// The list of classes, one folder per line.
const CLASSES: &str = "ClassName.txt";
/// Lists of partition 1.
const SPLITS: [(&str, &str); 2] = [("train", "Training_01.txt"), ("test", "Testing_01.txt")];

/// SUN397 as published: classes in the order of `ClassName.txt`, splits from partition 1. The partition uses
/// 100 images per class; all others are left out.
pub const SUN397: Source = Source {
    kind: "sun397",
    is_list: |path| ends_in(path, CLASSES) || SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "SUN397",
        expects: "a folder with SUN397.tar.gz and Partitions.zip, or with their contents:\n\
                  SUN397/<letter>/<class>/sun_*.jpg (also <letter>/<class>/<sub-class>/)\n\
                  ClassName.txt\n\
                  Training_01.txt, Testing_01.txt (from Partitions.zip)",
        sizes: "19,850 train / 19,850 test (partition 1 of 10; 108,754 images in all)",
        access: Access::Public(&[
            Download {
                url: "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
                size: Size::Exact(39_077_296_924),
                sha256: Some("f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec"),
            },
            Download {
                url: "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
                size: Size::Exact(18_293_705),
                sha256: Some("e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9"),
            },
        ]),
        described: "Xiao, Hays, Ehinger, Oliva, Torralba: SUN Database: Large-scale Scene Recognition from Abbey \
                    to Zoo, CVPR 2010; vision.princeton.edu/projects/2010/SUN",
        licence: "for research purposes only",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let classes = listing.require_list(CLASSES)?.classes()?;
    // a line is `/a/abbey/sun_aakbdcgfpksytcwj.jpg`
    let parse = |line: &str| {
        let (folder, _) = line.rsplit_once('/').unwrap_or_default();
        let label = classes.label(folder).map_err(|reason| format!("{line}: {reason}"))?;
        Ok((line.trim_start_matches('/').to_string(), label))
    };
    let splits = SPLITS.into_iter().map(|(split, end)| ListedSplit::read(listing, split, end, parse));
    let splits = splits.collect::<Result<_>>()?;
    let names = classes.names.iter().map(|folder| class_name(folder).to_string()).collect();
    listed_splits::plan("SUN397", listing, options, names, "", splits)
}

/// The class name `apartment_building/outdoor` of the folder `/a/apartment_building/outdoor`.
fn class_name(folder: &str) -> &str {
    let below = folder.trim_start_matches('/');
    below.split_once('/').map_or(below, |(_letter, name)| name)
}
