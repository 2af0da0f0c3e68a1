//! Splits and classes from folder names: `{train,val,test}/<class>/<image>` or `<class>/<image>`.

use std::collections::BTreeMap;

use super::image_tree::{check_images, common_folders};
use super::left_out::counted;
use super::listing::Listing;
use super::member_path::{composed, without_archive_ending};
use super::plan::Unusable;
use super::seeded_split::SeededSplit;
use super::split_names::SplitRole;
use crate::error::{Error, Result};
use crate::file_kind::FileKind;

/// Where each image goes.
pub(super) struct ClassFolderLayout<'a> {
    /// Class names in alphabetical order, indexed by label.
    pub class_names: Vec<String>,
    /// (path of the image, label), sorted by class and path.
    pub train: Vec<(&'a str, i32)>,
    /// Empty unless `train`, `val` and `test` all exist.
    pub val: Vec<(&'a str, i32)>,
    /// `test`, or `val` if there is no `test`.
    pub test: Vec<(&'a str, i32)>,
    /// Whether the test split was drawn at random, because the source has no splits.
    pub split_by_seed: bool,
    /// Folders beside the splits that are none. Their images have no place.
    pub no_splits: Vec<Unusable>,
    /// Number of images outside all folders of splits. They are left out.
    pub outside: usize,
}

/// Paths of images, by class.
type ImagesByClass<'a> = BTreeMap<String, Vec<&'a str>>;

/// What to do about images without class folders.
const MAKE_FOLDERS: &str = "hint: expected <class>/<image> or {train,val,test}/<class>/<image>; make a \
                            folder for each class, and move the images of the class there\n\
                            hint: `eqr-bench data pack images` packs them without labels";

impl<'a> ClassFolderLayout<'a> {
    /// Reads the layout from the sorted paths of all `images` of the input.
    ///
    /// # Errors
    /// [`Error::Member`] for an image in an unexpected place or a duplicate path; [`Error::Format`] if there
    /// are no images, fewer than two classes or no test images, if a class has lost all its images, or if
    /// several folders are the same split.
    pub(super) fn read(listing: &'a Listing, images: &[&'a str], seeded: SeededSplit) -> Result<Self> {
        check_images(listing, images, "<class>/<image> or train/<class>/<image>")?;
        let common = common_folders(images);
        let tree = ImageTree { listing, common, images };
        let has_splits = tree.below_top().any(|(top, below)| {
            matches!(below[..], [_, _]) && SplitRole::of(without_archive_ending(top)).is_some()
        });
        let layout = if has_splits { tree.split_layout(seeded)? } else { tree.class_layout(seeded)? };
        layout.check(listing)?;
        tree.check_lost_classes(has_splits)?;
        Ok(layout)
    }

    /// The layout of classes without splits: the seed selects a share of each class for the test split.
    fn from_seeded_split(classes: ImagesByClass<'a>, seeded: SeededSplit) -> Self {
        let (train, test) = seeded.split_classes(classes.values().map(Vec::as_slice));
        ClassFolderLayout {
            class_names: classes.into_keys().collect(),
            train,
            val: Vec::new(),
            test,
            split_by_seed: true,
            no_splits: Vec::new(),
            outside: 0,
        }
    }

    /// Refuses a set with fewer than two classes or without test images.
    fn check(&self, listing: &Listing) -> Result<()> {
        let classes = &self.class_names;
        if classes.len() < 2 {
            return Err(Error::format(
                listing.input,
                format!(
                    "expected at least two class folders, found {classes:?}\n\
                     hint: `eqr-bench data pack images` packs images without labels"
                ),
            ));
        }
        match self.test.is_empty() {
            false => Ok(()),
            true => Err(Error::format(
                listing.input,
                "every class has only one image: nothing is left for the test split\nhint: add images, or \
                 folders train/ and test/",
            )),
        }
    }

    /// Names of the classes without test images.
    pub(super) fn untested(&self) -> Vec<&str> {
        let mut tested = vec![false; self.class_names.len()];
        self.test.iter().for_each(|&(_, label)| tested[label as usize] = true);
        let names = self.class_names.iter().zip(tested);
        names.filter(|(_, tested)| !tested).map(|(name, _)| name.as_str()).collect()
    }
}

/// All images, and the folders that they share.
struct ImageTree<'l, 'a> {
    listing: &'a Listing<'a>,
    common: &'l str,
    /// Full paths.
    images: &'l [&'a str],
}

impl<'a> ImageTree<'_, 'a> {
    /// For each image, the folder at the top and the components of the path below it.
    fn below_top(&self) -> impl Iterator<Item = (&'a str, Vec<&'a str>)> {
        self.images.iter().filter_map(|path| {
            let (top, below) = path[self.common.len()..].split_once('/')?;
            Some((top, below.split('/').collect()))
        })
    }

    /// The layout of a source with a folder for each split.
    fn split_layout(&self, seeded: SeededSplit) -> Result<ClassFolderLayout<'a>> {
        let mut splits: BTreeMap<SplitRole, (&str, ImagesByClass)> = BTreeMap::new();
        let (mut no_splits, mut placed) = (Vec::new(), 0);
        for (top, images) in self.by_top() {
            let flat = images.iter().all(|path| self.components(path).len() == 2);
            let count = images.len();
            match SplitRole::of(without_archive_ending(top)) {
                Some(role) if !flat => {
                    placed += count;
                    let classes = self.by_class(&images, 1)?;
                    if let Some((other, _)) = splits.insert(role, (top, classes)) {
                        let reason = format!("two folders for the {} split: {other} and {top}", role.name());
                        let hint = "hint: point INPUT at a folder with one of them";
                        return Err(Error::format(self.listing.input, format!("{reason}\n{hint}")));
                    }
                }
                role => {
                    placed += count;
                    let images = if count == 1 { "1 image".to_owned() } else { format!("{count} images") };
                    let reason = match role {
                        Some(_) => format!("a split with {images}, but without class folders"),
                        None => {
                            format!("a folder with {images} beside the splits, but not the name of a split")
                        }
                    };
                    let member = format!("{}{top}/", self.common);
                    no_splits.push(Unusable { member, reason, images: count });
                }
            }
        }
        let mut take = |role| splits.remove(&role).map(|(_, classes)| classes).unwrap_or_default();
        let [train, mut val, mut test] = [SplitRole::Train, SplitRole::Val, SplitRole::Test].map(&mut take);
        if train.is_empty() {
            let reason = "test or validation images in class folders, but no training images";
            let hint = "hint: expected a folder train/ beside them, or class folders alone";
            return Err(Error::format(self.listing.input, format!("{reason}\n{hint}")));
        }
        if test.is_empty() {
            test = std::mem::take(&mut val);
        }
        let outside = self.images.len() - placed;
        if test.is_empty() {
            let layout = ClassFolderLayout::from_seeded_split(train, seeded);
            return Ok(ClassFolderLayout { no_splits, outside, ..layout });
        }
        if let Some(class) = test.keys().chain(val.keys()).find(|class| !train.contains_key(*class)) {
            let reason = format!("class `{class}` has test images but no training images");
            return Err(Error::format(self.listing.input, reason));
        }
        let class_names: Vec<String> = train.keys().cloned().collect();
        let labelled = |split: ImagesByClass<'a>| -> Vec<(&'a str, i32)> {
            let label = |class: &String| class_names.binary_search(class).unwrap_or_default() as i32;
            let images = |(class, images): (String, Vec<&'a str>)| {
                let label = label(&class);
                images.into_iter().map(move |image| (image, label))
            };
            split.into_iter().flat_map(images).collect()
        };
        let [train, val, test] = [train, val, test].map(labelled);
        Ok(ClassFolderLayout { class_names, train, val, test, split_by_seed: false, no_splits, outside })
    }

    /// The layout of a source with a folder for each class.
    fn class_layout(&self, seeded: SeededSplit) -> Result<ClassFolderLayout<'a>> {
        let tops: Vec<&str> = self.by_top().into_keys().map(without_archive_ending).collect();
        let all_resemble = tops.iter().all(|top| SplitRole::resembles(top));
        if all_resemble && tops.iter().any(|top| SplitRole::of(top).is_some()) {
            let reason = format!("images without class folders in {}", tops.join(", "));
            return Err(Error::format(self.listing.input, format!("{reason}\n{MAKE_FOLDERS}")));
        }
        if tops.is_empty() {
            let reason = format!("images without class folders\n{MAKE_FOLDERS}");
            return Err(Error::format(self.listing.input, reason));
        }
        Ok(ClassFolderLayout::from_seeded_split(self.by_class(self.images, 0)?, seeded))
    }

    /// The images by the folder at the top. Images outside all folders are not among them.
    fn by_top(&self) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut tops: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in self.images {
            if let Some((top, _)) = path[self.common.len()..].split_once('/') {
                tops.entry(top).or_default().push(path);
            }
        }
        tops
    }

    /// The components of a path below the common folders.
    fn components(&self, path: &'a str) -> Vec<&'a str> {
        path[self.common.len()..].split('/').collect()
    }

    /// `images` by class. The class folder is `depth` folders below the common ones.
    fn by_class(&self, images: &[&'a str], depth: usize) -> Result<ImagesByClass<'a>> {
        let mut classes = ImagesByClass::new();
        for path in images {
            match &self.components(path)[depth..] {
                [class, _] => classes.entry(class_name(class)).or_default().push(path),
                _ => {
                    let reason =
                        "expected <class>/<image> or {train,val,test}/<class>/<image> for all images";
                    return Err(Error::member(self.listing.input, *path, reason));
                }
            }
        }
        Ok(classes)
    }

    /// Refuses a class whose images of a split are all of kinds that are not read.
    fn check_lost_classes(&self, has_splits: bool) -> Result<()> {
        let mut lost: BTreeMap<(&str, String), (String, Vec<FileKind>)> = BTreeMap::new();
        for (path, kind) in self.listing.kinds.iter().filter(|(_, kind)| kind.is_other_image()) {
            let Some(place) = path.strip_prefix(self.common).and_then(|below| class_place(below, has_splits))
            else {
                continue;
            };
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            lost.entry(place).or_insert_with(|| (folder.to_owned(), Vec::new())).1.push(*kind);
        }
        if lost.is_empty() {
            return Ok(());
        }
        for path in self.images {
            if let Some(place) = class_place(&path[self.common.len()..], has_splits) {
                lost.remove(&place);
            }
        }
        let Some(((_, class), (folder, kinds))) = lost.into_iter().next() else { return Ok(()) };
        let reason =
            format!("class `{class}` has no image that can be read, only {}", counted(kinds.iter().copied()));
        let hint = kinds[0].hint().unwrap_or_default();
        Err(Error::member(self.listing.input, folder, format!("{reason}\n{hint}")))
    }
}

/// The folder of the split, which is empty without splits, and the class of a path below the common folders.
/// `None` for a path that is in no class folder.
fn class_place(below: &str, has_splits: bool) -> Option<(&str, String)> {
    let (split, in_split) = if has_splits { below.split_once('/')? } else { ("", below) };
    let (class, file) = in_split.split_once('/')?;
    let is_split = !has_splits || SplitRole::of(without_archive_ending(split)).is_some();
    (is_split && !file.contains('/')).then(|| (split, class_name(class)))
}

/// The name of the class of a folder or archive.
fn class_name(folder: &str) -> String {
    composed(without_archive_ending(folder)).into_owned()
}
