//! Images without labels, in any folders.

use serde_json::json;

use super::access::Access;
use super::image_tree::{check_images, common_folders};
use super::left_out::note_passed_over;
use super::listing::Listing;
use super::member_path::{has_image_ending, input_name, without_archive_ending};
use super::plan::{PackPlan, Sample};
use super::seeded_split::SeededSplit;
use super::source::{Options, Source, SourceInfo};
use super::split_names::SplitRole;
use crate::error::{Error, Result};

/// The fewest images of a split: of one image, a probe learns nothing and its R2 is undefined.
const FEWEST: usize = 2;

/// Any images, whatever their folders mean.
pub const IMAGES: Source = Source {
    kind: "images",
    is_list: |_| false,
    is_sniffed: |path| !has_image_ending(path),
    plan,
    records: None,
    side: None,
    info: SourceInfo {
        name: "the name of INPUT",
        expects: "\
a folder, .tar, .tar.gz or .zip with images, in any folders; their names are no labels
folders train and test (also training, val, ...) are splits; without them, a share of the images becomes the
  test split
images: JPEG, PNG, GIF, BMP, WebP, TIFF, by their content",
        sizes: "as found",
        access: Access::Own,
        described: "a flat folder of photographs; probes need no labels, classification does",
        licence: "that of the images",
    },
};

fn plan(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let seeded = SeededSplit::from_options(options)?;
    let images: Vec<&str> = listing.paths().filter(|path| listing.is_image(path)).collect();
    check_images(listing, &images, "images in any folders")?;
    let of_folders = splits_of_folders(&images);
    let note = if of_folders.is_some() { json!("as in the source") } else { seeded.note() };
    let splits = of_folders.unwrap_or_else(|| {
        let (train, test) = seeded.split(0, images.len());
        let chosen = |rows: Vec<usize>| rows.into_iter().map(|row| images[row]).collect();
        vec![(SplitRole::Train, chosen(train)), (SplitRole::Test, chosen(test))]
    });
    if let Some((role, few)) = splits.iter().find(|(_, images)| images.len() < FEWEST) {
        let reason = format!(
            "{} images leave {} for the {} split, expected at least {FEWEST} for each\n\
             hint: add images, or give another --test-fraction",
            images.len(),
            few.len(),
            role.name()
        );
        return Err(Error::format(listing.input, reason));
    }
    let mut notes = json!({ "split": note });
    note_passed_over(&mut notes, listing, images.len());
    let name = options.name_or(&input_name(listing.input));
    let samples = |images: Vec<&str>| images.into_iter().map(|image| Sample::labelled(image, 0)).collect();
    let splits = splits.into_iter().map(|(role, images)| (role.name().to_owned(), samples(images))).collect();
    Ok(PackPlan::photographs(name.clone(), vec![name], splits, notes))
}

type Splits<'a> = Vec<(SplitRole, Vec<&'a str>)>;

/// The splits, if every image is in a folder for a split and there are training images and others.
fn splits_of_folders<'a>(images: &[&'a str]) -> Option<Splits<'a>> {
    let common = common_folders(images);
    let mut splits = [SplitRole::Train, SplitRole::Val, SplitRole::Test].map(|role| (role, Vec::new()));
    for path in images {
        let (top, _) = path[common.len()..].split_once('/')?;
        let role = SplitRole::of(without_archive_ending(top))?;
        splits.iter_mut().find(|(other, _)| *other == role)?.1.push(*path);
    }
    let [(_, train), (_, val), (_, test)] = &mut splits;
    if test.is_empty() {
        std::mem::swap(val, test);
    }
    let has_both = !train.is_empty() && !test.is_empty();
    has_both.then(|| splits.into_iter().filter(|(_, images)| !images.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::{listing, options};

    fn listed(paths: &[&str]) -> Listing<'static> {
        let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (*path, b"".as_slice())).collect();
        listing(&files, IMAGES.is_list)
    }

    /// Names and images of the splits.
    fn planned(paths: &[&str]) -> Vec<(String, Vec<String>)> {
        let plan = plan(&listed(paths), &options()).unwrap();
        assert_eq!(plan.class_names, ["input"]);
        let images = |samples: Vec<Sample>| samples.into_iter().map(|sample| sample.image).collect();
        plan.splits.into_iter().map(|(name, samples)| (name, images(samples))).collect()
    }

    #[test]
    fn a_flat_folder_is_split_by_the_seed() {
        let paths: Vec<String> = (0..16).map(|index| format!("{index:02}.png")).collect();
        let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        paths.push("holiday/2024/x.jpg");
        let splits = planned(&paths);
        let sizes: Vec<(&str, usize)> =
            splits.iter().map(|(name, images)| (name.as_str(), images.len())).collect();
        assert_eq!(sizes, [("train", 13), ("test", 4)]);
        assert_eq!(splits, planned(&paths));
        let other = plan(&listed(&paths), &Options { seed: 4, ..options() }).unwrap();
        assert_eq!(other.notes["split"], json!({ "test_fraction": 0.25, "seed": 4 }));
        assert_ne!(other.splits[1].1[0].image, splits[1].1[0]);
    }

    #[test]
    fn folders_of_splits_are_used_if_all_images_are_in_them() {
        let paths = ["x/Training/a/0.png", "x/Training/1.png", "x/val/2.png", "x/val/3.png"];
        let splits = planned(&paths);
        assert_eq!(splits[0].1, ["x/Training/1.png", "x/Training/a/0.png"]);
        assert_eq!((splits[1].0.as_str(), splits.len()), ("test", 2));
        let beside = [&paths[..], &["x/4.png", "x/5.png", "x/6.png", "x/7.png"]].concat();
        assert_eq!(planned(&beside)[1].1.len(), 2, "a quarter of all");
    }

    #[test]
    fn too_few_images_are_counted() {
        let refused = |paths: &[&str]| plan(&listed(paths), &options()).unwrap_err().to_string();
        let two = refused(&["a.png", "b.png"]);
        assert!(two.contains("2 images leave 1 for the train split, expected at least 2 for each"), "{two}");
        assert!(refused(&["a.txt"]).contains("no images, found 1 empty file"));
    }
}
