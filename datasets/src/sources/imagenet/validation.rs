//! Ground truth of validation images that lie flat: of the devkit, or Kaggle's.

use std::collections::BTreeMap;

use super::classes::{META, Words};
use super::{file_name, is_wnid};
use crate::error::{Error, Result};
use crate::sources::lists::{self, Line, List};
use crate::sources::plan::Listing;

/// The devkit's numbers of classes, one line an image.
const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Kaggle's boxes, each with its class.
const SOLUTION: &str = "LOC_val_solution.csv";
/// Files with the classes of validation images.
pub(super) const LISTS: [&str; 2] = [TRUTH, SOLUTION];

/// The classes of flat validation images.
pub(super) struct Truth {
    /// Of each image, in their order.
    pub wnids: Vec<String>,
    /// Where they are from, for the provenance.
    pub from: &'static str,
}

/// `K` of `ILSVRC2012_val_0000000K.JPEG`.
pub(super) fn number(name: &str) -> Option<usize> {
    let (digits, _) = name.strip_prefix("ILSVRC2012_val_")?.split_once('.')?;
    let is_number = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Sorts the `flat` images (number and path) by number and gives their classes.
pub(super) fn labels(listing: &Listing, flat: &mut [(usize, &str)], words: &Words) -> Result<Truth> {
    if flat.is_empty() {
        return Ok(Truth { wnids: Vec::new(), from: "folders" });
    }
    flat.sort_unstable();
    if let Some(pair) = flat.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!("is there twice, as {}, too\nhint: point INPUT at one copy", pair[0].1);
        return Err(Error::member(listing.input, pair[1].1, reason));
    }
    match (lists::find(listing, TRUTH)?, lists::find(listing, SOLUTION)?) {
        (Some(list), _) if !words.wnids.is_empty() => of_devkit(listing, &list, flat, words),
        (_, Some(list)) => of_solution(listing, &list, flat),
        (Some(list), None) => {
            Err(list.error(format!("its numbers mean nothing without the devkit's {META}, which is missing")))
        }
        (None, None) => {
            let hint = format!("hint: add ILSVRC2012_devkit_t12.tar.gz ({TRUTH}, {META}) or {SOLUTION}");
            let count = flat.len();
            let reason =
                format!("{count} validation images lie in no class folder, and no file says their classes\n{hint}");
            Err(Error::format(listing.input, reason))
        }
    }
}

/// Line k is the number of the class of image k.
fn of_devkit(listing: &Listing, list: &List, flat: &[(usize, &str)], words: &Words) -> Result<Truth> {
    let lines = list.lines()?;
    if let Some(at) = (0..lines.len()).find(|&at| lines[at].number != at + 1) {
        return Err(list.error_at(at + 1, "expected a class, found an empty line"));
    }
    if lines.len() != flat.len() {
        return Err(list.error(format!("{} lines for {} validation images", lines.len(), flat.len())));
    }
    let mut wnids = Vec::with_capacity(flat.len());
    for (at, line) in lines.iter().enumerate() {
        let (number, path) = flat[at];
        if number != at + 1 {
            let reason = format!("expected image {} here: the images must be numbered 1 to {}", at + 1, flat.len());
            return Err(Error::member(listing.input, path, reason));
        }
        match line.text.parse().ok().and_then(|id: usize| words.wnids.get(&id)) {
            Some(wnid) => wnids.push(wnid.clone()),
            None => {
                let (least, most) = (words.wnids.keys().min().unwrap_or(&0), words.wnids.keys().max().unwrap_or(&0));
                let reason = format!("expected a class of {least} to {most}, found {:?}", line.text);
                return Err(list.error_at(line.number, reason));
            }
        }
    }
    Ok(Truth { wnids, from: TRUTH })
}

/// Lines of `ILSVRC2012_val_00000001,n03995372 85 1 499 272 ...`: the class of the first box is that of the image.
fn of_solution(listing: &Listing, list: &List, flat: &[(usize, &str)]) -> Result<Truth> {
    let lines = list.lines()?;
    if lines[0].text != "ImageId,PredictionString" {
        return Err(list.error_at(lines[0].number, "expected ImageId,PredictionString"));
    }
    let mut classes = BTreeMap::new();
    for &Line { number, text } in &lines[1..] {
        let (image, boxes) = text.split_once(',').unwrap_or((text, ""));
        let wnid = boxes.split(' ').next().unwrap_or_default();
        if !is_wnid(wnid) {
            return Err(list.error_at(number, format!("expected an image and its WNID, found {text:?}")));
        }
        if classes.insert(image, wnid).is_some() {
            return Err(list.error_at(number, format!("{image} is there twice")));
        }
    }
    let mut wnids = Vec::with_capacity(flat.len());
    for (_, path) in flat {
        let name = file_name(path);
        let image = name.split_once('.').map_or(name, |(stem, _)| stem);
        match classes.remove(image) {
            Some(wnid) => wnids.push(wnid.to_owned()),
            None => return Err(Error::member(listing.input, path, format!("{} does not name it", list.path))),
        }
    }
    match classes.first_key_value() {
        None => Ok(Truth { wnids, from: SOLUTION }),
        Some((image, _)) => Err(list.error(format!("names {image}, which is not there"))),
    }
}
