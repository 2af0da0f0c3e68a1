//! Which image of a tree of class folders goes where: `{train,val,test}/<class>/<image>` or `<class>/<image>`.

use std::collections::BTreeMap;
use std::path::Path;

use super::by_seed::BySeed;
use super::suffix::without_archive_ending;
use crate::error::{Error, Result};

/// Which image goes where.
pub(super) struct Layout {
    /// In the order of the alphabet; labels index it.
    pub class_names: Vec<String>,
    /// (index of the image, label), in the order of class and path.
    pub train: Vec<(usize, i32)>,
    /// Where there are `train`, `val` and `test`; else empty.
    pub val: Vec<(usize, i32)>,
    /// `test`, or `val` where there is no `test`.
    pub test: Vec<(usize, i32)>,
    /// Whether the source named no splits.
    pub split_by_seed: bool,
    /// Images beside the folders of the splits, which are passed over.
    pub outside: usize,
}

/// Images (their indices) by class.
type Classes<'a> = BTreeMap<&'a str, Vec<usize>>;

impl Layout {
    /// Reads the layout off the sorted paths of all images of `input`.
    ///
    /// # Errors
    /// [`Error::Member`] for an image that lies elsewhere and for a path that stands there twice, [`Error::Format`] where
    /// there are no images, no two classes or no test images.
    pub(super) fn of(input: &Path, images: &[&str], by_seed: BySeed) -> Result<Layout> {
        check_images(input, images)?;
        let paths: Vec<Vec<&str>> = images.iter().map(|path| path.split('/').collect()).collect();
        let paths = without_common_folders(&paths);
        let tree = Tree { input, images, paths };
        let layout = if tree.has("train") && (tree.has("test") || tree.has("val")) {
            Self::of_splits(&tree)?
        } else {
            Self::of_classes(&tree.classes(None)?, by_seed)
        };
        layout.check(input)?;
        Ok(layout)
    }

    /// The layout of a source that names its splits.
    fn of_splits(tree: &Tree) -> Result<Layout> {
        let train = tree.classes(Some("train"))?;
        let (mut val, mut test) = (tree.classes(Some("val"))?, tree.classes(Some("test"))?);
        if test.is_empty() {
            test = std::mem::take(&mut val);
        }
        if let Some(class) = test.keys().chain(val.keys()).find(|class| !train.contains_key(*class)) {
            let reason = format!("class `{class}` has test images and no training image");
            return Err(Error::format(tree.input, reason));
        }
        let class_names: Vec<String> = train.keys().map(ToString::to_string).collect();
        let labelled = |split: &Classes| {
            let label = |class: &str| class_names.binary_search_by(|name| name.as_str().cmp(class)).unwrap_or_default();
            let label = |class: &str| label(class) as i32;
            split.iter().flat_map(|(class, images)| images.iter().map(move |&image| (image, label(class)))).collect()
        };
        let [train, val, test]: [Vec<_>; 3] = [&train, &val, &test].map(labelled);
        let outside = tree.images.len() - train.len() - val.len() - test.len();
        Ok(Layout { class_names, train, val, test, split_by_seed: false, outside })
    }

    /// The layout of a source without splits: of each class a share, drawn by the seed, is the test split.
    fn of_classes(classes: &Classes, by_seed: BySeed) -> Layout {
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (label, images) in classes.values().enumerate() {
            let (in_train, in_test) = by_seed.split(label, images.len());
            let labelled = |position: usize| (images[position], label as i32);
            train.extend(in_train.into_iter().map(labelled));
            test.extend(in_test.into_iter().map(labelled));
        }
        let class_names = classes.keys().map(ToString::to_string).collect();
        Layout { class_names, train, val: Vec::new(), test, split_by_seed: true, outside: 0 }
    }

    /// Refuses what nothing can be learnt from or tested on.
    fn check(&self, input: &Path) -> Result<()> {
        let classes = &self.class_names;
        if classes.len() < 2 {
            return Err(Error::format(input, format!("expected at least two class folders, found {classes:?}")));
        }
        match self.test.is_empty() {
            false => Ok(()),
            true => Err(Error::format(input, "every class has but one image: nothing is left for the test split")),
        }
    }

    /// Names of the classes of which no test image is there.
    pub(super) fn untested(&self) -> Vec<&str> {
        let mut tested = vec![false; self.class_names.len()];
        self.test.iter().for_each(|&(_, label)| tested[label as usize] = true);
        let names = self.class_names.iter().zip(tested);
        names.filter(|(_, tested)| !tested).map(|(name, _)| name.as_str()).collect()
    }
}

/// Refuses no images at all, and two of one path.
fn check_images(input: &Path, images: &[&str]) -> Result<()> {
    if images.is_empty() {
        let reason = "no .jpg, .jpeg or .png file inside\nhint: expected <class>/<image> or train/<class>/<image>";
        return Err(Error::format(input, reason));
    }
    match images.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::member(input, pair[0], "there are two members of this name")),
        None => Ok(()),
    }
}

/// `paths` without the folders that hold all of them. A folder that holds nothing but images is a class.
fn without_common_folders<'a>(paths: &'a [Vec<&'a str>]) -> Vec<&'a [&'a str]> {
    let mut rest: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    let in_one_folder = |rest: &[&[&str]]| rest.iter().all(|path| path.len() > 1 && path[0] == rest[0][0]);
    while in_one_folder(&rest) && rest.iter().any(|path| path.len() > 2) {
        rest.iter_mut().for_each(|path| *path = &path[1..]);
    }
    rest
}

/// The images below their common folders.
struct Tree<'a> {
    input: &'a Path,
    /// Whole paths, for messages.
    images: &'a [&'a str],
    /// The parts of each path that are not common to all.
    paths: Vec<&'a [&'a str]>,
}

impl<'a> Tree<'a> {
    /// Whether `split` is a folder at the top, or an archive there.
    fn has(&self, split: &str) -> bool {
        self.paths.iter().any(|path| path.len() > 1 && without_archive_ending(path[0]) == split)
    }

    /// The images below the folder `split` (of all, where there is none) by class.
    fn classes(&self, split: Option<&str>) -> Result<Classes<'a>> {
        let mut classes = Classes::new();
        for (index, path) in self.paths.iter().enumerate() {
            let below = match split {
                Some(name) if without_archive_ending(path[0]) == name => &path[1..],
                Some(_) => continue,
                None => path,
            };
            match below {
                [class, _] => classes.entry(without_archive_ending(class)).or_default().push(index),
                _ => {
                    let reason = "expected <class>/<image> or {train,test,val}/<class>/<image>, alike for all images";
                    return Err(Error::member(self.input, self.images[index], reason));
                }
            }
        }
        Ok(classes)
    }
}
