//! FGVC-Aircraft (Maji, Rahtu, Kannala, Blaschko and Vedaldi, 2013), its 100 variants.

use super::layout::{self, Entry, SplitList};
use super::lists::{self, Classes, Line, ends_in};
use super::plan::{About, Listing, Options, Plan, Source};
use crate::error::Result;

/// List of the classes.
const CLASSES: &str = "variants.txt";
/// The lists of the splits.
const SPLITS: [(&str, &str); 3] =
    [("train", "images_variant_train.txt"), ("val", "images_variant_val.txt"), ("test", "images_variant_test.txt")];

/// FGVC-Aircraft as published: classes in the order of `variants.txt`. The images keep the banner of 20 pixels at
/// their lower edge.
pub const AIRCRAFT: Source = Source {
    kind: "aircraft",
    is_list: |path| ends_in(path, CLASSES) || SPLITS.iter().any(|(_, list)| ends_in(path, list)),
    plan,
    records: None,
    side: None,
    about: About {
        name: "Aircraft",
        expects: "fgvc-aircraft-2013b.tar.gz, or the folder fgvc-aircraft-2013b that it holds:\n\
                  data/images/NNNNNNN.jpg\n\
                  data/variants.txt\n\
                  data/images_variant_{train,val,test}.txt",
        sizes: "3,334 train / 3,333 val / 3,333 test",
        download: "2.75 GB",
        described: "Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft, \
                    arXiv:1306.5151, 2013; robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
        licence: "for non-commercial research purposes only; copyright remains with the photographers",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<Plan> {
    let classes = lists::require(listing, CLASSES)?.classes()?;
    let splits = SPLITS.into_iter().map(|(split, end)| split_list(listing, split, end, &classes));
    layout::plan("Aircraft", listing, options, classes.to_names(), "images/", splits.collect::<Result<_>>()?)
}

/// Lines `1025794 707-320`: the image's number and the variant, which may hold spaces and `/`.
fn split_list<'a>(listing: &'a Listing, split: &'static str, end: &str, classes: &Classes) -> Result<SplitList<'a>> {
    let list = lists::require(listing, end)?;
    let entry = |Line { number, text }: Line| {
        let (image, variant) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| list.error_at(number, format!("expected `image variant`, found {text:?}")))?;
        let label = classes.label(variant.trim_start()).map_err(|reason| list.error_at(number, reason))?;
        Ok(Entry { image: format!("images/{image}.jpg"), label, line: Some(number) })
    };
    let entries = list.lines()?.into_iter().map(entry).collect::<Result<_>>()?;
    Ok(SplitList { split, list, entries })
}
