//! Classes of the validation images outside class folders: from the devkit or from Kaggle's CSV.

use std::collections::BTreeMap;

use super::class_words::{ClassWords, META, is_wnid};
use crate::error::{Error, Result};
use crate::formats::text_list::{TextLine, TextList};
use crate::sources::listing::Listing;
use crate::sources::member_path::file_name;

/// The devkit's class numbers, one line per image.
const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Kaggle's bounding boxes with their classes.
const SOLUTION: &str = "LOC_val_solution.csv";
/// Files that give the classes of validation images.
pub(super) const LISTS: [&str; 2] = [TRUTH, SOLUTION];

/// The classes of the validation images outside class folders.
pub(super) struct GroundTruth {
    /// One WNID per image, in the order of the images.
    pub wnids: Vec<String>,
    /// The file that the classes come from, for the provenance.
    pub origin: &'static str,
}

/// The number `K` in `ILSVRC2012_val_0000000K.JPEG`.
pub(super) fn image_number(name: &str) -> Option<usize> {
    let (digits, _) = name.strip_prefix("ILSVRC2012_val_")?.split_once('.')?;
    let is_number = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Sorts the `flat` images (number and path) by number and returns their classes.
///
/// # Errors
/// [`Error::Format`] if no file gives the classes; [`Error::Member`] if a file does not match the images.
pub(super) fn ground_truth(
    listing: &Listing,
    flat: &mut [(usize, &str)],
    words: &ClassWords,
) -> Result<GroundTruth> {
    if flat.is_empty() {
        return Ok(GroundTruth { wnids: Vec::new(), origin: "folders" });
    }
    flat.sort_unstable();
    if let Some(pair) = flat.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let reason = format!("occurs twice, also as {}\nhint: point INPUT at one copy", pair[0].1);
        return Err(Error::member(listing.input, pair[1].1, reason));
    }
    match (listing.find_list(TRUTH)?, listing.find_list(SOLUTION)?) {
        (Some(list), _) if !words.wnids.is_empty() => from_devkit(listing, &list, flat, words),
        (_, Some(list)) => from_solution(listing, &list, flat),
        (Some(list), None) => Err(list.error(format!(
            "its class numbers cannot be used without the devkit's {META}, which is missing"
        ))),
        (None, None) => {
            let hint = format!("hint: add ILSVRC2012_devkit_t12.tar.gz ({TRUTH}, {META}) or {SOLUTION}");
            let count = flat.len();
            let reason = format!(
                "{count} validation images are outside class folders, and no file gives their classes\n{hint}"
            );
            Err(Error::format(listing.input, reason))
        }
    }
}

/// Reads the devkit's list. Line k is the class number of image k.
fn from_devkit(
    listing: &Listing,
    list: &TextList,
    flat: &[(usize, &str)],
    words: &ClassWords,
) -> Result<GroundTruth> {
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
            let reason =
                format!("expected image {} here: the images must be numbered 1 to {}", at + 1, flat.len());
            return Err(Error::member(listing.input, path, reason));
        }
        match line.text.parse().ok().and_then(|id: usize| words.wnids.get(&id)) {
            Some(wnid) => wnids.push(wnid.clone()),
            None => {
                let (least, most) =
                    (words.wnids.keys().min().unwrap_or(&0), words.wnids.keys().max().unwrap_or(&0));
                let reason = format!("expected a class of {least} to {most}, found {:?}", line.text);
                return Err(list.error_at(line.number, reason));
            }
        }
    }
    Ok(GroundTruth { wnids, origin: TRUTH })
}

/// Reads Kaggle's CSV. A line is `ILSVRC2012_val_00000001,n03995372 85 1 499 272 ...`. The class of the first
/// box is used as the class of the image.
fn from_solution(listing: &Listing, list: &TextList, flat: &[(usize, &str)]) -> Result<GroundTruth> {
    let lines = list.lines()?;
    if lines[0].text != "ImageId,PredictionString" {
        return Err(list.error_at(lines[0].number, "expected ImageId,PredictionString"));
    }
    let mut classes = BTreeMap::new();
    for &TextLine { number, text } in &lines[1..] {
        let (image, boxes) = text.split_once(',').unwrap_or((text, ""));
        let wnid = boxes.split(' ').next().unwrap_or_default();
        if !is_wnid(wnid) {
            return Err(list.error_at(number, format!("expected an image and its WNID, found {text:?}")));
        }
        if classes.insert(image, wnid).is_some() {
            return Err(list.error_at(number, format!("{image} occurs twice")));
        }
    }
    let mut wnids = Vec::with_capacity(flat.len());
    for (_, path) in flat {
        let name = file_name(path);
        let image = name.split_once('.').map_or(name, |(stem, _)| stem);
        match classes.remove(image) {
            Some(wnid) => wnids.push(wnid.to_owned()),
            None => {
                return Err(Error::member(listing.input, path, format!("{} does not list it", list.path)));
            }
        }
    }
    match classes.first_key_value() {
        None => Ok(GroundTruth { wnids, origin: SOLUTION }),
        Some((image, _)) => Err(list.error(format!("lists {image}, which is missing"))),
    }
}
