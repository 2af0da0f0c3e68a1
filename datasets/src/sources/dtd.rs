//! Describable Textures (Cimpoi, Maji, Kokkinos, Mohamed and Vedaldi, CVPR 2014), split 1 of 10.

use std::collections::BTreeSet;

use super::access::{Access, Download, Size};
use super::listed_splits::{self, ListedImage, ListedSplit};
use super::listing::Listing;
use super::member_path::ends_in;
use super::plan::PackPlan;
use super::source::{Options, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::formats::text_list::{TextLine, TextList};

/// Lists of split 1.
const SPLITS: [(&str, &str); 3] =
    [("train", "labels/train1.txt"), ("val", "labels/val1.txt"), ("test", "labels/test1.txt")];

/// DTD as published: classes in alphabetical order, splits from the lists of split 1.
pub const DTD: Source = Source {
    kind: "dtd",
    is_list: |path| SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "DTD",
        expects: "dtd-r1.0.1.tar.gz, or its folder dtd:\n\
                  images/<class>/<class>_NNNN.jpg\n\
                  labels/train1.txt, labels/val1.txt, labels/test1.txt",
        sizes: "1,880 train / 1,880 val / 1,880 test (split 1 of 10)",
        access: Access::Public(&[Download {
            url: "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            size: Size::Exact(625_239_812),
            sha256: Some("e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205"),
        }]),
        described: "Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi: Describing Textures in the Wild, CVPR 2014; \
                    robots.ox.ac.uk/~vgg/data/dtd",
        licence: "for research purposes",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let found =
        SPLITS.map(|(split, end)| Ok((split, listing.find_list(end)?.ok_or_else(|| missing(listing, end))?)));
    let found = found.into_iter().collect::<Result<Vec<_>>>()?;
    let mut names = Vec::new();
    for (_, list) in &found {
        names.push(classes_of_lines(list)?);
    }
    let classes: BTreeSet<&str> = names.iter().flatten().map(|(class, _)| *class).collect();
    let classes: Vec<&str> = classes.into_iter().collect();
    let splits = found.into_iter().zip(&names).map(|((split, list), names)| {
        let label = |class: &str| classes.partition_point(|other| *other < class) as i32;
        let image = |(class, line): &(&str, TextLine)| ListedImage {
            image: format!("images/{}", line.text),
            label: label(class),
            line: Some(line.number),
        };
        ListedSplit { split, list, images: names.iter().map(image).collect() }
    });
    let splits = splits.collect();
    let classes = classes.iter().map(|class| class.to_string()).collect();
    listed_splits::plan("DTD", listing, options, classes, "images/", splits)
}

/// The error for a missing list. Some copies of the set contain only the images.
fn missing(listing: &Listing, end: &str) -> Error {
    let hint = "hint: images without lists can be packed as class-folders, with a random test split";
    Error::format(listing.input, format!("expected a file {end}, found none\n{hint}"))
}

/// The lines, such as `banded/banded_0002.jpg`, each with its class.
fn classes_of_lines<'a>(list: &TextList<'a>) -> Result<Vec<(&'a str, TextLine<'a>)>> {
    let class = |line: TextLine<'a>| match line.text.split_once('/') {
        Some((class, _)) => Ok((class, line)),
        None => Err(list.error_at(line.number, format!("expected <class>/<image>, found {:?}", line.text))),
    };
    list.lines()?.into_iter().map(class).collect()
}
