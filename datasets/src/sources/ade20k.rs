//! ADE20K (scene parsing benchmark) and other sets in its layout: photographs with masks of class ids.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::json;

use super::access::{Access, Download, Size};
use super::listing::Listing;
use super::member_path::{composed, file_name, has_image_ending, last_components};
use super::plan::{PackPlan, Sample, Unusable};
use super::source::{Options, Source, SourceInfo};
use super::split_names::SplitRole;
use crate::error::{Error, Result};
use crate::formats::text_list::{TextLine, TextList};

/// The list of class names.
const NAMES: &str = "objectInfo150.txt";
/// Number of classes if there is no list of class names.
const CLASSES: usize = 150;
/// Maximum number of classes in 8-bit masks, where 0 is void.
const MOST_CLASSES: usize = 255;
/// The splits of the published set, with their folders.
const SPLITS: [(SplitRole, &str, &str); 2] =
    [(SplitRole::Train, "train", "training"), (SplitRole::Val, "test", "validation")];

/// Photographs with masks of class ids.
pub const ADE20K: Source = Source {
    kind: "ade20k",
    is_list: |path| file_name(path) == NAMES,
    is_sniffed: |path| !has_image_ending(path),
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "ADE20K",
        expects: "\
ADEChallengeData2016.zip, or its tree
  images/{training,validation}/<name>.jpg
  annotations/{training,validation}/<name>.png    8 bits: 0 = void, 1..150 = classes
  objectInfo150.txt                               names; without it, classes are numbered",
        sizes: "20,210 train / 2,000 test (the validation images)",
        access: Access::Public(&[Download {
            url: "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            size: Size::Exact(967_382_037),
            sha256: Some("7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29"),
        }]),
        described: "Zhou et al. 2017, Scene Parsing through ADE20K Dataset; sceneparsing.csail.mit.edu",
        licence: "annotations: BSD 3-Clause; images (not MIT's): non-commercial research and education",
    },
};

/// Matches images and masks by name.
fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let (class_names, named) = match listing.find_list(NAMES)? {
        Some(list) => (class_names(&list)?, true),
        None => ((1..=CLASSES).map(|id| format!("class {id}")).collect(), false),
    };
    let pairs = pairs(listing)?;
    let (mut splits, mut missing) = (Vec::new(), Vec::new());
    for (role, split, folder) in SPLITS {
        let samples = samples(&pairs, role, folder, &mut missing);
        if samples.is_empty() && missing.is_empty() {
            return Err(Error::format(listing.input, no_pairs(listing, folder)));
        }
        splits.push((split.to_owned(), samples));
    }
    let notes = json!({
        "split": "as in the source",
        "class_names": if named { NAMES } else { "numbers" },
        "images_outside_splits": listing.paths().filter(|path| is_test_image(path)).count(),
    });
    Ok(PackPlan { missing, ..PackPlan::photographs(options.name_or("ADE20K"), class_names, splits, notes) })
}

/// The image and the mask with the same name.
#[derive(Default)]
struct Pair<'a> {
    image: Option<&'a str>,
    mask: Option<&'a str>,
}

/// Images and masks by split and name.
type Pairs<'a> = BTreeMap<(SplitRole, Cow<'a, str>), Pair<'a>>;

/// Why an input without images of a split is refused.
fn no_pairs(listing: &Listing, folder: &str) -> String {
    let expected =
        format!("expected images/{folder}/<name>.jpg and annotations/{folder}/<name>.png, found none");
    if listing.paths().any(is_of_full_ade20k) {
        return format!(
            "{expected}; this is the full ADE20K, whose masks name objects and parts in colours\n\
             hint: give ADEChallengeData2016.zip of the scene parsing benchmark, sceneparsing.csail.mit.edu"
        );
    }
    expected
}

/// Whether the path is that of a mask or the index of the full ADE20K.
fn is_of_full_ade20k(path: &str) -> bool {
    let name = file_name(path);
    name.starts_with("ADE_") && name.ends_with("_seg.png") || name.starts_with("index_ade20k.")
}

/// Whether the path is that of a test image. The published set has no masks of these.
fn is_test_image(path: &str) -> bool {
    matches!(last_components(path), Some(["images", folder, _]) if SplitRole::of(folder) == Some(SplitRole::Test))
}

/// The files in `images/` and `annotations/` of the splits that are packed.
fn pairs<'a>(listing: &'a Listing) -> Result<Pairs<'a>> {
    let mut pairs = Pairs::new();
    for path in listing.paths() {
        let Some([kind @ ("images" | "annotations"), folder, file]) = last_components(path) else {
            continue;
        };
        let role = SplitRole::of(folder).filter(|role| *role != SplitRole::Test && listing.is_image(path));
        let Some(role) = role else { continue };
        let (stem, ending) = file.rsplit_once('.').unwrap_or((file, ""));
        if kind == "annotations" && !ending.eq_ignore_ascii_case("png") {
            return Err(Error::member(listing.input, path, "expected a PNG: JPEG does not keep class ids"));
        }
        let pair = pairs.entry((role, composed(stem))).or_default();
        let place = if kind == "images" { &mut pair.image } else { &mut pair.mask };
        if let Some(other) = place.replace(path) {
            return Err(Error::member(listing.input, path, format!("has the same name as {other}")));
        }
    }
    Ok(pairs)
}

/// The complete pairs of a folder, sorted by name. Missing images and masks are added to `missing`.
fn samples(pairs: &Pairs, role: SplitRole, folder: &str, missing: &mut Vec<Unusable>) -> Vec<Sample> {
    let in_split = pairs.iter().filter(|((other, _), _)| *other == role);
    let sample = |((_, stem), pair): (&(SplitRole, Cow<str>), &Pair)| match (pair.image, pair.mask) {
        (Some(image), Some(mask)) => {
            Some(Sample { mask: Some(mask.to_owned()), ..Sample::labelled(image, 0) })
        }
        (image, mask) => {
            let absent = match image {
                Some(_) => format!("annotations/{folder}/{stem}.png"),
                None => format!("images/{folder}/{stem}.jpg"),
            };
            let partner = image.or(mask).unwrap_or(stem);
            missing.push(Unusable::one(absent, format!("it is missing, but {partner} needs it")));
            None
        }
    };
    in_split.filter_map(sample).collect()
}

/// Reads the class names from a tab-separated table with the columns `Idx` (1, 2, ...) and `Name`.
fn class_names(list: &TextList) -> Result<Vec<String>> {
    let lines = list.lines()?;
    let cells = |line: &TextLine| -> Vec<String> {
        line.text.split('\t').map(|cell| cell.trim().to_owned()).collect()
    };
    let header = cells(&lines[0]);
    let column = |name: &str| header.iter().position(|cell| cell == name);
    let (Some(index), Some(name)) = (column("Idx"), column("Name")) else {
        return Err(list.error_at(lines[0].number, "expected the columns Idx and Name, separated by tabs"));
    };
    let mut names = Vec::new();
    for (id, line) in lines.iter().enumerate().skip(1) {
        let cells = cells(line);
        match (cells.get(index).map(|cell| cell.parse::<usize>()), cells.get(name)) {
            (Some(Ok(found)), Some(name)) if found == id && !name.is_empty() => names.push(name.clone()),
            _ => return Err(list.error_at(line.number, format!("expected class {id} and its name"))),
        }
    }
    match names.len() {
        1..=MOST_CLASSES => Ok(names),
        count => Err(list.error(format!("expected 1 to {MOST_CLASSES} classes, found {count}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::{listing, options};

    const INFO: &str = "Idx\tRatio\tTrain\tVal\tStuff\tName\r\n1\t0.1576\t11664\t1172\t1\twall\r\n\
                        2\t0.1072\t6046\t612\t1\tbuilding, edifice\r\n";

    /// The published tree with two training images and one validation image.
    fn official() -> Vec<(&'static str, &'static [u8])> {
        vec![
            ("ADEChallengeData2016/annotations/training/ADE_train_00000001.png", b""),
            ("ADEChallengeData2016/annotations/training/ADE_train_00000002.png", b""),
            ("ADEChallengeData2016/annotations/validation/ADE_val_00000001.png", b""),
            ("ADEChallengeData2016/images/training/ADE_train_00000001.jpg", b""),
            ("ADEChallengeData2016/images/training/ADE_train_00000002.jpg", b""),
            ("ADEChallengeData2016/images/validation/ADE_val_00000001.jpg", b""),
            ("ADEChallengeData2016/objectInfo150.txt", INFO.as_bytes()),
            ("ADEChallengeData2016/sceneCategories.txt", b"ADE_train_00000001 airport_terminal\n"),
        ]
    }

    fn planned(files: &[(&str, &[u8])]) -> Result<PackPlan> {
        plan(&listing(files, ADE20K.is_list), &options())
    }

    /// The error, or the missing members.
    fn refused(files: &[(&str, &[u8])]) -> String {
        match planned(files) {
            Ok(plan) => plan
                .missing
                .iter()
                .map(|Unusable { member, reason, .. }| format!("{member}: {reason}\n"))
                .collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_published_tree_is_paired_and_named() {
        let plan = planned(&official()).unwrap();
        assert_eq!(
            (plan.name.as_str(), plan.class_names.as_slice()),
            ("ADE20K", ["wall", "building, edifice"].map(String::from).as_slice())
        );
        let [(train, two), (test, one)] = plan.splits.as_slice() else { panic!("two splits") };
        assert_eq!((train.as_str(), two.len(), test.as_str(), one.len()), ("train", 2, "test", 1));
        let expected = Sample {
            mask: Some("ADEChallengeData2016/annotations/training/ADE_train_00000002.png".into()),
            ..Sample::labelled("ADEChallengeData2016/images/training/ADE_train_00000002.jpg", 0)
        };
        assert_eq!(two[1], expected);
    }

    #[test]
    fn a_set_without_class_names_has_numbered_classes() {
        let files: Vec<(&str, &[u8])> = vec![
            ("annotations/training/0001 TÜ.png", b""),
            ("annotations/validation/0016E5_08129.png", b""),
            ("images/training/0001 TÜ.JPG", b""),
            ("images/validation/0016E5_08129.jpg", b""),
        ];
        let plan = planned(&files).unwrap();
        assert_eq!((plan.class_names.len(), plan.class_names[10].as_str()), (150, "class 11"));
        assert_eq!(plan.splits[0].1[0].mask.as_deref(), Some("annotations/training/0001 TÜ.png"));
    }

    #[test]
    fn a_missing_partner_is_named_together_with_the_member_that_needs_it() {
        for missing in 0..6 {
            let mut files = official();
            let (path, _) = files.remove(missing);
            let message = refused(&files);
            let ending = path.strip_prefix("ADEChallengeData2016/").unwrap();
            assert!(
                message.contains(&format!("{ending}: it is missing, but ADEChallengeData2016/")),
                "{message}"
            );
        }
    }

    #[test]
    fn an_empty_split_and_two_images_of_one_name_are_refused() {
        let mut files = official();
        files.retain(|(path, _)| !path.contains("validation"));
        assert!(refused(&files).contains("images/validation/<name>.jpg"));
        let mut files = official();
        files.push(("ADEChallengeData2016/images/training/ADE_train_00000001.png", b""));
        assert!(
            refused(&files)
                .contains("has the same name as ADEChallengeData2016/images/training/ADE_train_00000001.jpg")
        );
        let mut files = official();
        files[0].0 = "ADEChallengeData2016/annotations/training/ADE_train_00000001.jpg";
        assert!(refused(&files).contains("ADE_train_00000001.jpg: expected a PNG"));
    }

    #[test]
    fn the_full_set_is_told_from_the_benchmark() {
        let files: Vec<(&str, &[u8])> = vec![
            ("ADE20K_2021_17_01/images/ADE/training/urban/street/ADE_train_00016869.jpg", b""),
            ("ADE20K_2021_17_01/images/ADE/training/urban/street/ADE_train_00016869_seg.png", b""),
            ("ADE20K_2021_17_01/index_ade20k.pkl", b""),
        ];
        let message = refused(&files);
        assert!(
            message.contains("this is the full ADE20K")
                && message.contains("hint: give ADEChallengeData2016"),
            "{message}"
        );
    }

    #[test]
    fn splits_have_the_names_of_the_table_and_letters_may_be_decomposed() {
        let files: Vec<(&str, &[u8])> = vec![
            ("annotations/train/T\u{dc}.png", b""),
            ("annotations/val/b.png", b""),
            ("images/train/TU\u{308}.tiff", b""),
            ("images/val/b.webp", b""),
        ];
        let plan = planned(&files).unwrap();
        assert_eq!(plan.splits[0].1[0].image, "images/train/TU\u{308}.tiff");
        assert_eq!(plan.splits[1].1[0].mask.as_deref(), Some("annotations/val/b.png"));
    }

    #[test]
    fn malformed_tables_are_refused_with_the_line() {
        let with = |info: &'static str| {
            let mut files = official();
            files[6].1 = info.as_bytes();
            refused(&files)
        };
        assert!(with("").contains("at least one line"));
        assert!(with("Nr\tName\n1\twall\n").contains("line 1: expected the columns"));
        assert!(with("Idx\tName\n").contains("found 0"));
        assert!(with("Idx\tName\n1\twall\n3\tsky\n").contains("line 3: expected class 2"));
        assert!(with("Idx\tName\n1\t\n").contains("line 2: expected class 1"));
        assert!(with("Idx\tName\n1 wall\n").contains("line 2"));
    }
}
