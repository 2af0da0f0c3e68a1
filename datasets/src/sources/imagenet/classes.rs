//! What ImageNet's classes are called, and the numbers that its devkit gives them.

use std::collections::BTreeMap;

use super::is_wnid;
use crate::error::Result;
use crate::sources::lists::{self, Line, List};
use crate::sources::mat5::{self, Value};
use crate::sources::plan::Listing;

/// The devkit's table of synsets.
pub(super) const META: &str = "meta.mat";
/// Kaggle's list of classes.
const MAPPING: &str = "LOC_synset_mapping.txt";
/// Files with the names of classes.
pub(super) const LISTS: [&str; 2] = [META, MAPPING];
/// Numbers above belong to synsets that have synsets below them, and no images.
const LAST_LEAF: f64 = 1000.0;

/// What is known about classes.
#[derive(Default)]
pub(super) struct Words {
    /// Synonyms by WNID.
    pub words: BTreeMap<String, String>,
    /// WNID by the devkit's number, where there is a devkit.
    pub wnids: BTreeMap<usize, String>,
}

/// Reads whichever of the files are there.
pub(super) fn words(listing: &Listing) -> Result<Words> {
    let mut words = Words::default();
    if let Some(list) = lists::find(listing, MAPPING)? {
        words.read_mapping(&list)?;
    }
    if let Some(list) = lists::find(listing, META)? {
        words.read_meta(&list)?;
    }
    Ok(words)
}

impl Words {
    /// Lines of `n01440764 tench, Tinca tinca`.
    fn read_mapping(&mut self, list: &List) -> Result<()> {
        for Line { number, text } in list.lines()? {
            let Some((wnid, words)) = text.split_once(' ').filter(|(wnid, _)| is_wnid(wnid)) else {
                return Err(list.error_at(number, format!("expected `n01440764 tench, Tinca tinca`, found {text:?}")));
            };
            self.words.insert(wnid.to_owned(), words.trim().to_owned());
        }
        Ok(())
    }

    /// The leaf synsets of the devkit.
    fn read_meta(&mut self, list: &List) -> Result<()> {
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
            if self.wnids.values().any(|other| *other == wnid) || self.wnids.contains_key(&(number as usize)) {
                return refuse("its number or its WNID is there twice");
            }
            self.words.insert(wnid.clone(), words);
            self.wnids.insert(number as usize, wnid);
        }
        Ok(())
    }
}
