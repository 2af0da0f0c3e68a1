//! Splits and classes from folder names: `{train,val,test}/<class>/<image>` or `<class>/<image>`.

use std::collections::BTreeMap;
use std::path::Path;

use super::member_path::without_archive_ending;
use super::seeded_split::SeededSplit;
use crate::error::{Error, Result};

/// Where each image goes.
pub(super) struct ClassFolderLayout {
    /// Class names in alphabetical order, indexed by label.
    pub class_names: Vec<String>,
    /// (index of the image, label), sorted by class and path.
    pub train: Vec<(usize, i32)>,
    /// Empty unless `train`, `val` and `test` all exist.
    pub val: Vec<(usize, i32)>,
    /// `test`, or `val` if there is no `test`.
    pub test: Vec<(usize, i32)>,
    /// Whether the test split was drawn at random, because the source has no splits.
    pub split_by_seed: bool,
    /// Number of images outside the split folders. They are left out.
    pub outside: usize,
}

/// Indices of images, by class.
type ImagesByClass<'a> = BTreeMap<&'a str, Vec<usize>>;

impl ClassFolderLayout {
    /// Reads the layout from the sorted paths of all images of `input`.
    ///
    /// # Errors
    /// [`Error::Member`] for an image in an unexpected place or a duplicate path; [`Error::Format`] if there
    /// are no images, fewer than two classes or no test images.
    pub(super) fn from_paths(
        input: &Path,
        images: &[&str],
        seeded: SeededSplit,
    ) -> Result<ClassFolderLayout> {
        check_images(input, images)?;
        let paths: Vec<Vec<&str>> = images.iter().map(|path| path.split('/').collect()).collect();
        let paths = without_common_folders(&paths);
        let images = ImagePaths { input, images, paths };
        let layout = if images.has_folder("train") && (images.has_folder("test") || images.has_folder("val"))
        {
            Self::from_split_folders(&images)?
        } else {
            Self::from_seeded_split(&images.by_class(None)?, seeded)
        };
        layout.check(input)?;
        Ok(layout)
    }

    /// The layout of a source with a folder for each split.
    fn from_split_folders(images: &ImagePaths) -> Result<ClassFolderLayout> {
        let train = images.by_class(Some("train"))?;
        let (mut val, mut test) = (images.by_class(Some("val"))?, images.by_class(Some("test"))?);
        if test.is_empty() {
            test = std::mem::take(&mut val);
        }
        if let Some(class) = test.keys().chain(val.keys()).find(|class| !train.contains_key(*class)) {
            let reason = format!("class `{class}` has test images but no training images");
            return Err(Error::format(images.input, reason));
        }
        let class_names: Vec<String> = train.keys().map(ToString::to_string).collect();
        let labelled = |split: &ImagesByClass| {
            let label = |class: &str| {
                class_names.binary_search_by(|name| name.as_str().cmp(class)).unwrap_or_default() as i32
            };
            split
                .iter()
                .flat_map(|(class, images)| images.iter().map(move |&image| (image, label(class))))
                .collect()
        };
        let [train, val, test]: [Vec<_>; 3] = [&train, &val, &test].map(labelled);
        let outside = images.images.len() - train.len() - val.len() - test.len();
        Ok(ClassFolderLayout { class_names, train, val, test, split_by_seed: false, outside })
    }

    /// The layout of a source without splits: the seed selects a share of each class for the test split.
    fn from_seeded_split(classes: &ImagesByClass, seeded: SeededSplit) -> ClassFolderLayout {
        let (train, test) = seeded.split_classes(classes.values().map(Vec::as_slice));
        let class_names = classes.keys().map(ToString::to_string).collect();
        ClassFolderLayout { class_names, train, val: Vec::new(), test, split_by_seed: true, outside: 0 }
    }

    /// Refuses a set with fewer than two classes or without test images.
    fn check(&self, input: &Path) -> Result<()> {
        let classes = &self.class_names;
        if classes.len() < 2 {
            return Err(Error::format(
                input,
                format!("expected at least two class folders, found {classes:?}"),
            ));
        }
        match self.test.is_empty() {
            false => Ok(()),
            true => Err(Error::format(
                input,
                "every class has only one image: nothing is left for the test split",
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

/// Refuses an input without images or with duplicate paths.
fn check_images(input: &Path, images: &[&str]) -> Result<()> {
    if images.is_empty() {
        let reason =
            "no .jpg, .jpeg or .png files found\nhint: expected <class>/<image> or train/<class>/<image>";
        return Err(Error::format(input, reason));
    }
    match images.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::member(input, pair[0], "two members have this name")),
        None => Ok(()),
    }
}

/// Removes the folders that all `paths` share. A folder that contains only images is a class and is kept.
fn without_common_folders<'a>(paths: &'a [Vec<&'a str>]) -> Vec<&'a [&'a str]> {
    let mut rest: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    let in_one_folder = |rest: &[&[&str]]| rest.iter().all(|path| path.len() > 1 && path[0] == rest[0][0]);
    while in_one_folder(&rest) && rest.iter().any(|path| path.len() > 2) {
        rest.iter_mut().for_each(|path| *path = &path[1..]);
    }
    rest
}

/// All images, with their paths below the common folders.
struct ImagePaths<'a> {
    input: &'a Path,
    /// Full paths, for error messages.
    images: &'a [&'a str],
    /// The components of each path below the common folders.
    paths: Vec<&'a [&'a str]>,
}

impl<'a> ImagePaths<'a> {
    /// Whether there is a folder or an archive named `split` at the top.
    fn has_folder(&self, split: &str) -> bool {
        self.paths.iter().any(|path| path.len() > 1 && without_archive_ending(path[0]) == split)
    }

    /// The images of `split` by class, or all images if `split` is `None`.
    fn by_class(&self, split: Option<&str>) -> Result<ImagesByClass<'a>> {
        let mut classes = ImagesByClass::new();
        for (index, path) in self.paths.iter().enumerate() {
            let below = match split {
                Some(name) if without_archive_ending(path[0]) == name => &path[1..],
                Some(_) => continue,
                None => path,
            };
            match below {
                [class, _] => classes.entry(without_archive_ending(class)).or_default().push(index),
                _ => {
                    let reason =
                        "expected <class>/<image> or {train,test,val}/<class>/<image> for all images";
                    return Err(Error::member(self.input, self.images[index], reason));
                }
            }
        }
        Ok(classes)
    }
}
