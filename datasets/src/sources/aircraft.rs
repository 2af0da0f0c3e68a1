//! FGVC-Aircraft (Maji, Rahtu, Kannala, Blaschko and Vedaldi, 2013) with its 100 variants as classes.

use super::access::{Access, Download, Size};
use super::listed_splits::{self, ListedSplit};
use super::listing::Listing;
use super::member_path::ends_in;
use super::plan::PackPlan;
use super::source::{Options, Source, SourceInfo};
use crate::error::Result;

/// The list of classes.
const CLASSES: &str = "variants.txt";
/// The lists of the splits.
const SPLITS: [(&str, &str); 3] = [
    ("train", "images_variant_train.txt"),
    ("val", "images_variant_val.txt"),
    ("test", "images_variant_test.txt"),
];

/// FGVC-Aircraft as published, with classes in the order of `variants.txt`. The images keep the banner of 20
/// pixels at the bottom.
pub const AIRCRAFT: Source = Source {
    kind: "aircraft",
    is_list: |path| ends_in(path, CLASSES) || SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    is_sniffed: |_| false,
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "Aircraft",
        expects: "fgvc-aircraft-2013b.tar.gz, or its folder fgvc-aircraft-2013b:\n\
                  data/images/NNNNNNN.jpg\n\
                  data/variants.txt\n\
                  data/images_variant_{train,val,test}.txt",
        sizes: "3,334 train / 3,333 val / 3,333 test",
        access: Access::Public(&[Download {
            url: "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/\
                      fgvc-aircraft-2013b.tar.gz",
            size: Size::Exact(2_753_340_328),
            // of the archive as served in 2026: the publisher's page has the MD5 of an earlier one, and
            // TensorFlow Datasets has the sum of the unpacked tar
            sha256: Some("e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834"),
        }]),
        described: "Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft, \
                    arXiv:1306.5151, 2013; robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
        licence: "for non-commercial research purposes only; copyright remains with the photographers",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let classes = listing.require_list(CLASSES)?.classes()?;
    // a line is `1025794 707-320`: image number and variant, which may contain spaces and `/`
    let parse = |line: &str| {
        let (image, variant) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("expected `image variant`, found {line:?}"))?;
        Ok((format!("images/{image}.jpg"), classes.label(variant.trim_start())?))
    };
    let splits = SPLITS.into_iter().map(|(split, end)| ListedSplit::read(listing, split, end, parse));
    let splits = splits.collect::<Result<_>>()?;
    listed_splits::plan("Aircraft", listing, options, classes.to_names(), "images/", splits)
}
