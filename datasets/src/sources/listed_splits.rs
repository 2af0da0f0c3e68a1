//! Sets of photographs with a list of images for each split.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::listing::Listing;
use super::plan::{PackPlan, Sample, Unusable};
use super::source::Options;
use crate::error::{Error, Result};
use crate::formats::text_list::TextList;

/// An image in a list.
pub(super) struct ListedImage {
    /// Path below the folder of the set, such as `images/banded/banded_0002.jpg`.
    pub image: String,
    /// Class index.
    pub label: i32,
    /// Line number in the list; `None` if the list has no lines.
    pub line: Option<usize>,
}

/// A split and the list of its images.
pub(super) struct ListedSplit<'a> {
    pub split: &'static str,
    pub list: TextList<'a>,
    pub images: Vec<ListedImage>,
}

/// Plans a set of photographs from the lists of its splits. Samples keep the order of the lists.
///
/// `folder` is a folder inside the set, such as `images/`, or empty for the whole set. Images in this folder
/// that are in no list are left out and counted in the notes.
///
/// # Errors
/// [`Error::Member`] for an image that is listed twice, with the line number; [`Error::Format`] if listed
/// images are found in two folders. Listed images that are missing are added to [`PackPlan::missing`].
pub(super) fn plan(
    name: &str,
    listing: &Listing,
    options: &Options,
    class_names: Vec<String>,
    folder: &str,
    splits: Vec<ListedSplit>,
) -> Result<PackPlan> {
    let named = named_images(&splits)?;
    let root = root(listing, &named)?;
    let mut missing = Vec::new();
    let samples =
        splits.iter().map(|split| (split.split.to_string(), split.samples(listing, &root, &mut missing)));
    let samples = samples.collect();
    let lists: Vec<&str> = splits.iter().map(|split| split.list.path).collect();
    let unnamed = count_unnamed(listing, &named, &root, folder);
    let notes = json!({ "lists": lists, "images_that_no_list_names": unnamed });
    Ok(PackPlan { missing, ..PackPlan::photographs(options.name_or(name), class_names, samples, notes) })
}

/// The number of images in `folder` that are in no list.
fn count_unnamed<T>(listing: &Listing, named: &HashMap<&str, T>, root: &str, folder: &str) -> usize {
    let is_unnamed = |path: &&str| {
        let name = path.strip_prefix(root).filter(|name| name.starts_with(folder));
        name.is_some_and(|name| listing.is_image(path) && !named.contains_key(name))
    };
    listing.paths().filter(is_unnamed).count()
}

/// Every listed image, with its list and line. An image may be listed only once in all lists.
fn named_images<'s>(splits: &'s [ListedSplit]) -> Result<HashMap<&'s str, (&'s str, Option<usize>)>> {
    let mut named = HashMap::new();
    for ListedSplit { list, images, .. } in splits {
        if images.is_empty() {
            return Err(list.error("expected image names, found none"));
        }
        for listed in images {
            if let Some((other, line)) = named.insert(listed.image.as_str(), (list.path, listed.line)) {
                let line = line.map(|line| format!(" line {line}")).unwrap_or_default();
                return Err(listed.error(list, format!("lists {}, as does {other}{line}", listed.image)));
            }
        }
    }
    Ok(named)
}

/// The folder of the set: the part of the members' paths that precedes the listed names. It is empty or ends
/// in `/`.
fn root<T>(listing: &Listing, named: &HashMap<&str, T>) -> Result<String> {
    let mut roots = BTreeSet::new();
    for path in listing.paths() {
        let starts = std::iter::once(0).chain(path.match_indices('/').map(|(slash, _)| slash + 1));
        roots.extend(starts.filter(|&start| named.contains_key(&path[start..])).map(|start| &path[..start]));
    }
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root.to_string()),
        (Some(one), Some(other)) => {
            let place = |root: &str| if root.is_empty() { "the top".to_string() } else { root.to_string() };
            let reason = format!("listed images are in two places: {} and {}", place(one), place(other));
            Err(Error::format(
                listing.input,
                format!("{reason}\nhint: point INPUT at the folder or archive to use"),
            ))
        }
        // none of the images was found: all are reported as missing, whatever the root is
        (None, _) => Ok(String::new()),
    }
}

impl<'a> ListedSplit<'a> {
    /// Reads the list whose path ends in `end`. `parse` turns a line into a label and a path below the folder
    /// of the set.
    ///
    /// # Errors
    /// [`Error::Format`] for a missing list, [`Error::Member`] for a line that `parse` refuses.
    pub fn read(
        listing: &'a Listing,
        split: &'static str,
        end: &str,
        parse: impl Fn(&str) -> std::result::Result<(String, i32), String>,
    ) -> Result<Self> {
        let list = listing.require_list(end)?;
        let images = list.lines()?.into_iter().map(|line| match parse(line.text) {
            Ok((image, label)) => Ok(ListedImage { image, label, line: Some(line.number) }),
            Err(reason) => Err(list.error_at(line.number, reason)),
        });
        Ok(ListedSplit { split, images: images.collect::<Result<_>>()?, list })
    }

    /// The samples of the split. Listed images that are missing are added to `missing`.
    fn samples(&self, listing: &Listing, root: &str, missing: &mut Vec<Unusable>) -> Vec<Sample> {
        let sample = |listed: &ListedImage| {
            let path = format!("{root}{}", listed.image);
            match listing.members.binary_search_by(|(member, _)| member.as_str().cmp(&path)) {
                Ok(_) => Some(Sample::labelled(path, listed.label)),
                Err(_) => {
                    let line = listed.line.map(|line| format!(" line {line}")).unwrap_or_default();
                    let reason = format!("it is missing, but {}{line} lists it", self.list.path);
                    missing.push(Unusable::one(path, reason));
                    None
                }
            }
        };
        self.images.iter().filter_map(sample).collect()
    }
}

impl ListedImage {
    /// An error for the line that lists the image.
    fn error(&self, list: &TextList, reason: String) -> Error {
        match self.line {
            Some(line) => list.error_at(line, reason),
            None => list.error(reason),
        }
    }
}
