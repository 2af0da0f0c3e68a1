//! Names of ImageNet's classes, and their numbers in the devkit.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::formats::mat5::{self, Value};
use crate::formats::text_list::{TextLine, TextList};
use crate::sources::listing::Listing;

/// The devkit's table of synsets.
pub(super) const META: &str = "meta.mat";
/// Kaggle's list of classes.
const MAPPING: &str = "LOC_synset_mapping.txt";
/// Files that contain class names.
pub(super) const LISTS: [&str; 2] = [META, MAPPING];
/// Highest number of a leaf synset. Higher numbers are parent synsets, which have no images.
const LAST_LEAF: f64 = 1000.0;

/// Names and numbers of classes.
#[derive(Default)]
pub(super) struct ClassWords {
    /// Synonyms by WNID.
    words: BTreeMap<String, String>,
    /// WNID by devkit number; empty without a devkit.
    pub wnids: BTreeMap<usize, String>,
}

/// Whether `text` is the WordNet id of a noun: `n` and eight digits.
pub(super) fn is_wnid(text: &str) -> bool {
    text.strip_prefix('n')
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

impl ClassWords {
    /// Reads the files in [`LISTS`] that the input contains.
    pub(super) fn read(listing: &Listing) -> Result<ClassWords> {
        let mut words = ClassWords::default();
        if let Some(list) = listing.find_list(MAPPING)? {
            words.read_mapping(&list)?;
        }
        if let Some(list) = listing.find_list(META)? {
            words.read_meta(&list)?;
        }
        Ok(words)
    }

    /// The class name: `n01440764 tench, Tinca tinca`, or only the WNID if its words are unknown.
    pub(super) fn class_name(&self, wnid: &str) -> String {
        self.words.get(wnid).map_or_else(|| wnid.to_owned(), |words| format!("{wnid} {words}"))
    }

    /// Reads lines such as `n01440764 tench, Tinca tinca`.
    fn read_mapping(&mut self, list: &TextList) -> Result<()> {
        for TextLine { number, text } in list.lines()? {
            let Some((wnid, words)) = text.split_once(' ').filter(|(wnid, _)| is_wnid(wnid)) else {
                return Err(
                    list.error_at(number, format!("expected `n01440764 tench, Tinca tinca`, found {text:?}"))
                );
            };
            self.words.insert(wnid.to_owned(), words.trim().to_owned());
        }
        Ok(())
    }

    /// Reads the leaf synsets of the devkit.
    fn read_meta(&mut self, list: &TextList) -> Result<()> {
        let columns = ["ILSVRC2012_ID", "WNID", "words"];
        let rows = mat5::struct_array(list.bytes, "synsets", columns).map_err(|reason| list.error(reason))?;
        for (at, row) in rows.into_iter().enumerate() {
            let refuse = |reason: &str| Err(list.error(format!("synset {}: {reason}", at + 1)));
            let [Value::Number(number), Value::Text(wnid), Value::Text(words)] = row else {
                return refuse("expected a number, a WNID and words");
            };
            if number < 1.0 || number.fract() != 0.0 || !is_wnid(&wnid) {
                return refuse("expected an ILSVRC2012_ID of 1 or more and a WNID such as n01440764");
            }
            if number > LAST_LEAF {
                continue;
            }
            if self.wnids.values().any(|other| *other == wnid) || self.wnids.contains_key(&(number as usize))
            {
                return refuse("its number or its WNID occurs twice");
            }
            self.words.insert(wnid.clone(), words);
            self.wnids.insert(number as usize, wnid);
        }
        Ok(())
    }
}
