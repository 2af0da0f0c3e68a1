//! Sets with one folder per class: any set, and CIFAR-10 as image files.

use serde_json::json;

use super::access::Access;
use super::class_folder_layout::ClassFolderLayout;
use super::left_out::note_passed_over;
use super::listing::Listing;
use super::member_path::{has_image_ending, input_name};
use super::plan::{PackPlan, Sample};
use super::seeded_split::SeededSplit;
use super::source::{Options, Source, SourceInfo};
use crate::error::{Error, Result};

/// CIFAR-10's classes in label order, which is alphabetical.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Any set with one folder per class.
pub const CLASS_FOLDERS: Source = Source {
    kind: "class-folders",
    is_list: |_| false,
    is_sniffed: |path| !has_image_ending(path),
    plan: |listing, options| plan(listing, options, &input_name(listing.input)),
    records: None,
    side: None,
    info: SourceInfo {
        name: "the name of INPUT",
        expects: "\
a folder, .tar, .tar.gz or .zip with
  {train,test}/<class>/<image>, {train,val}/<class>/<image>, or all three; or
  <class>/<image>; a share of each class becomes the test split
splits: also training, Train, valid, validation, testing, test_set, ...
images: JPEG, PNG, GIF, BMP, WebP, TIFF, by their content",
        sizes: "as found",
        access: Access::Own,
        described: "the layout of torchvision's ImageFolder",
        licence: "that of the images",
    },
};

/// CIFAR-10 in class folders.
///
/// # Errors
/// [`Error::Format`] for other classes; the errors of [`CLASS_FOLDERS`].
pub(super) fn cifar10(listing: &Listing, options: &Options) -> Result<PackPlan> {
    let plan = plan(listing, options, "CIFAR10")?;
    if plan.class_names == CIFAR10_CLASSES {
        return Ok(plan);
    }
    let (expected, found) = (CIFAR10_CLASSES.join(", "), plan.class_names.join(", "));
    Err(Error::format(listing.input, format!("expected the classes {expected}, found {found}")))
}

/// The plan for class folders. `name` is used if the options give no name.
fn plan(listing: &Listing, options: &Options, name: &str) -> Result<PackPlan> {
    let seeded = SeededSplit::from_options(options)?;
    let images: Vec<&str> = listing.paths().filter(|path| listing.is_image(path)).collect();
    let layout = ClassFolderLayout::read(listing, &images, seeded)?;
    let samples = |split: &[(&str, i32)]| -> Vec<Sample> {
        split.iter().map(|&(image, label)| Sample::labelled(image, label)).collect()
    };
    let splits = [("train", &layout.train), ("val", &layout.val), ("test", &layout.test)];
    let splits = splits.into_iter().filter(|(_, split)| !split.is_empty());
    let splits = splits.map(|(name, split)| (name.to_owned(), samples(split))).collect();
    let mut notes = json!({
        "split": if layout.split_by_seed { seeded.note() } else { json!("as in the source") },
        "images_outside_splits": layout.outside,
        "classes_without_test_images": layout.untested(),
    });
    note_passed_over(&mut notes, listing, images.len());
    let (missing, classes) = (layout.no_splits, layout.class_names);
    Ok(PackPlan { missing, ..PackPlan::photographs(options.name_or(name), classes, splits, notes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set_kind::SetKind;
    use crate::sources::Unusable;
    use crate::sources::testing::{listing, options};

    fn listed(paths: &[&str]) -> Listing<'static> {
        let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (*path, b"".as_slice())).collect();
        listing(&files, CLASS_FOLDERS.is_list)
    }

    fn planned(paths: &[&str]) -> PackPlan {
        (CLASS_FOLDERS.plan)(&listed(paths), &options()).unwrap()
    }

    fn refused(paths: &[&str]) -> String {
        (CLASS_FOLDERS.plan)(&listed(paths), &options()).unwrap_err().to_string()
    }

    /// Paths and labels of a split's images.
    fn images<'a>(plan: &'a PackPlan, split: &str) -> Vec<(&'a str, i32)> {
        let (_, items) = plan.splits.iter().find(|(name, _)| name == split).unwrap();
        items.iter().map(|item| (item.image.as_str(), item.label)).collect()
    }

    #[test]
    fn named_splits_are_used_with_classes_in_alphabetical_order() {
        let plan = planned(&[
            "set/test/zebra ä/1.JPEG",
            "set/train/zebra ä/1.png",
            "set/train/ant/2.jpg",
            "set/train/ant/10.jpeg",
            "set/train/ant/.hidden.jpg",
            "set/README.txt",
            "set/overview.png",
        ]);
        assert_eq!((plan.name.as_str(), plan.kind, plan.views), ("input", SetKind::Photographs, None));
        assert_eq!(plan.class_names, ["ant", "zebra ä"]);
        let train =
            [("set/train/ant/10.jpeg", 0), ("set/train/ant/2.jpg", 0), ("set/train/zebra ä/1.png", 1)];
        assert_eq!(images(&plan, "train"), train);
        assert_eq!(images(&plan, "test"), [("set/test/zebra ä/1.JPEG", 1)]);
        assert_eq!(plan.notes["split"], "as in the source");
        assert_eq!(plan.notes["images_outside_splits"], 1);
        assert_eq!(plan.notes["files_passed_over"], 2);
        assert_eq!(plan.notes["classes_without_test_images"], json!(["ant"]));
    }

    #[test]
    fn val_is_a_split_of_its_own_only_beside_test() {
        let both = planned(&["train/a/0.png", "train/b/0.png", "val/a/0.png", "test/b/0.png"]);
        assert_eq!(
            both.splits.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["train", "val", "test"]
        );
        assert_eq!(images(&both, "val"), [("val/a/0.png", 0)]);
        let alone = planned(&["train/a/0.png", "train/b/0.png", "val/a/0.png"]);
        assert_eq!(images(&alone, "test"), [("val/a/0.png", 0)]);
        assert_eq!(alone.splits.len(), 2);
    }

    #[test]
    fn archives_instead_of_folders_are_named_as_folders() {
        let plan = planned(&["train.zip/a.tar/0.png", "train.zip/b.tar/0.png", "val.zip/a/0.png"]);
        assert_eq!(plan.class_names, ["a", "b"]);
        assert_eq!(images(&plan, "test"), [("val.zip/a/0.png", 0)]);
    }

    #[test]
    fn a_tree_without_splits_is_split_by_the_seed() {
        let paths: Vec<String> =
            (0..16).map(|index| format!("top/class {}/{index:02}.png", index % 2)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let plan = planned(&paths);
        for label in [0, 1] {
            assert_eq!(images(&plan, "train").iter().filter(|(_, l)| *l == label).count(), 6);
            assert_eq!(images(&plan, "test").iter().filter(|(_, l)| *l == label).count(), 2);
        }
        assert_eq!(plan.notes["split"], json!({ "test_fraction": 0.25, "seed": 3 }));
        let other = (CLASS_FOLDERS.plan)(&listed(&paths), &Options { seed: 4, ..options() }).unwrap();
        assert_ne!(other.splits, plan.splits);
    }

    #[test]
    fn anything_but_class_folders_is_refused_by_name() {
        assert!(refused(&["a/0.txt"]).contains("no images, found 1 empty file"));
        assert!(
            refused(&["a/0.png", "b/0.png", "stray.png"]).contains("stray.png: expected <class>/<image>")
        );
        assert!(
            refused(&["train/a/0.png", "train/b/0.png", "test/c/0.png"])
                .contains("class `c` has test images")
        );
        assert!(refused(&["a/0.png", "a/1.png"]).contains("at least two class folders, found [\"a\"]"));
        assert!(refused(&["a/0.png", "b/0.png"]).contains("nothing is left for the test split"));
        assert!(refused(&["a/0.png", "a/0.png", "b/0.png"]).contains("a/0.png: two members have"));
        assert!(refused(&["val/a/0.png", "test/a/0.png"]).contains("no training images"));
        let two = ["train/a/0.png", "train/b/0.png", "Training/a/0.png", "val/a/0.png"];
        assert!(refused(&two).contains("two folders for the train split"));
    }

    /// Kaggle's "Dogs vs. Cats": the class is in the name of the file.
    #[test]
    fn splits_without_class_folders_are_no_classes() {
        let flat = ["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg", "test1/2.jpg"];
        let reason = refused(&flat);
        assert!(reason.contains("images without class folders in test1, train"), "{reason}");
        assert!(reason.contains("make a folder for each class"), "{reason}");
        let vehicles = ["bus/0.png", "bus/1.png", "train/0.png", "train/1.png"];
        assert_eq!(planned(&vehicles).class_names, ["bus", "train"]);
    }

    #[test]
    fn a_split_alone_is_divided_by_the_seed() {
        let paths = ["train/a/0.png", "train/a/1.png", "train/b/0.png", "train/b/1.png", "test/9.png"];
        let plan = planned(&paths);
        assert_eq!(images(&plan, "test").len(), 2);
        assert_eq!(plan.notes["split"], json!({ "test_fraction": 0.25, "seed": 3 }));
        let Unusable { member, reason, images } = &plan.missing[0];
        assert_eq!((member.as_str(), *images), ("test/", 1));
        assert!(reason.contains("a split with 1 image, but without class folders"), "{reason}");
    }

    #[test]
    fn composed_and_decomposed_letters_are_one_class() {
        let plan = planned(&[
            "train/caf\u{e9}/0.png",
            "train/bar/0.png",
            "test/cafe\u{301}/1.png",
            "train/cafe\u{301}/2.png",
        ]);
        assert_eq!(plan.class_names, ["bar", "caf\u{e9}"]);
        assert_eq!(images(&plan, "test"), [("test/cafe\u{301}/1.png", 1)]);
        assert_eq!(images(&plan, "train").iter().filter(|(_, label)| *label == 1).count(), 2);
    }

    #[test]
    fn options_name_the_set_and_limit_the_share() {
        let listing = listed(&["a/0.png", "a/1.png", "b/0.png"]);
        let named = Options { name: Some("mine".into()), ..options() };
        assert_eq!((CLASS_FOLDERS.plan)(&listing, &named).unwrap().name, "mine");
        let bad = Options { test_fraction: 1.0, ..options() };
        assert!(matches!((CLASS_FOLDERS.plan)(&listing, &bad), Err(Error::Invalid(_))));
    }

    #[test]
    fn cifar10_has_its_ten_classes() {
        let tree = |classes: &[&str]| -> Vec<String> {
            classes
                .iter()
                .flat_map(|class| ["train", "test"].map(|split| format!("{split}/{class}/0001.jpg")))
                .collect()
        };
        let read = |classes: &[&str]| {
            let paths = tree(classes);
            let listing = listed(&paths.iter().map(String::as_str).collect::<Vec<_>>());
            cifar10(&listing, &options())
        };
        let plan = read(&CIFAR10_CLASSES).unwrap();
        assert_eq!((plan.name.as_str(), plan.class_names.len()), ("CIFAR10", 10));
        assert_eq!(images(&plan, "test")[9], ("test/truck/0001.jpg", 9));
        assert!(read(&CIFAR10_CLASSES[..9]).unwrap_err().to_string().contains("ship, truck, found airplane"));
    }
}
