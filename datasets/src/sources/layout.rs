//! From lists that name images to the members of the input, wherever the set's folder lies in it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde_json::json;

use super::lists::List;
use super::members::is_image;
use super::plan::{Item, Listing, Options, Plan};
use crate::dataset::Kind;
use crate::error::{Error, Result};

/// An image as a list names it.
pub(super) struct Entry {
    /// Path below the folder of the set, such as `images/banded/banded_0002.jpg`.
    pub image: String,
    /// Class index.
    pub label: i32,
    /// Where the list names it; nothing in a list without lines.
    pub line: Option<usize>,
}

/// A split and the list that gives it.
pub(super) struct SplitList<'a> {
    pub split: &'static str,
    pub list: List<'a>,
    pub entries: Vec<Entry>,
}

/// The plan of a set of photographs whose lists name the images of all splits. Items keep the order of the lists.
///
/// Images below `folder` (of the set's folder: `images/`, or all of it: empty) that no list names are left out, and
/// counted in the notes.
///
/// # Errors
/// [`Error::Member`] for a list that names an image that was named already, with the line; [`Error::Format`] where two folders hold
/// images of the lists. Images that are named and missing are [`Plan::absent`].
pub(super) fn plan(
    name: &str,
    listing: &Listing,
    options: &Options,
    class_names: Vec<String>,
    folder: &str,
    splits: Vec<SplitList>,
) -> Result<Plan> {
    let named = names(&splits)?;
    let root = root(listing, &named)?;
    let mut absent = Vec::new();
    let items = splits.iter().map(|split| (split.split.to_string(), split.items(listing, &root, &mut absent)));
    let items = items.collect();
    let lists: Vec<&str> = splits.iter().map(|split| split.list.path).collect();
    let notes = json!({ "lists": lists, "images_that_no_list_names": unnamed(listing, &named, &root, folder) });
    Ok(Plan {
        name: options.name.clone().unwrap_or_else(|| name.to_string()),
        kind: Kind::Photographs,
        class_names,
        views: None,
        splits: items,
        absent,
        notes,
    })
}

/// Images below `folder` that no list names.
fn unnamed<T>(listing: &Listing, named: &HashMap<&str, T>, root: &str, folder: &str) -> usize {
    let is_unnamed = |(path, _): &(String, u64)| {
        let name = path.strip_prefix(root).filter(|name| name.starts_with(folder));
        name.is_some_and(|name| is_image(Path::new(name)) && !named.contains_key(name))
    };
    listing.members.iter().filter(|member| is_unnamed(member)).count()
}

/// Every image that is named, and by whom: an image has one place, be it in one list or in two.
fn names<'s>(splits: &'s [SplitList]) -> Result<HashMap<&'s str, (&'s str, Option<usize>)>> {
    let mut names = HashMap::new();
    for SplitList { list, entries, .. } in splits {
        if entries.is_empty() {
            return Err(list.error("expected the names of images, found none"));
        }
        for entry in entries {
            if let Some((other, line)) = names.insert(entry.image.as_str(), (list.path, entry.line)) {
                let line = line.map(|line| format!(" line {line}")).unwrap_or_default();
                return Err(entry.error(list, format!("names {}, as does {other}{line}", entry.image)));
            }
        }
    }
    Ok(names)
}

/// What stands before the names in the paths of the members: empty or ending in `/`.
fn root<T>(listing: &Listing, named: &HashMap<&str, T>) -> Result<String> {
    let mut roots = BTreeSet::new();
    for (path, _) in &listing.members {
        let starts = std::iter::once(0).chain(path.match_indices('/').map(|(slash, _)| slash + 1));
        roots.extend(starts.filter(|&start| named.contains_key(&path[start..])).map(|start| &path[..start]));
    }
    let mut roots = roots.into_iter();
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root.to_string()),
        (Some(one), Some(other)) => {
            let place = |root: &str| if root.is_empty() { "the top".to_string() } else { root.to_string() };
            let reason = format!("images of the lists lie in two places: {} and {}", place(one), place(other));
            Err(Error::format(listing.input, format!("{reason}\nhint: point INPUT at the folder or archive to use")))
        }
        // then any place will do to find the first of them missing
        (None, _) => Ok(String::new()),
    }
}

impl SplitList<'_> {
    /// The members that the list names; those that are not there go to `absent`.
    fn items(&self, listing: &Listing, root: &str, absent: &mut Vec<(String, String)>) -> Vec<Item> {
        let members = &listing.members;
        let item = |entry: &Entry| {
            let path = format!("{root}{}", entry.image);
            match members.binary_search_by(|(member, _)| member.as_str().cmp(&path)) {
                Ok(_) => Some(Item { image: path, label: entry.label, mask: None, latents: None }),
                Err(_) => {
                    let line = entry.line.map(|line| format!(" line {line}")).unwrap_or_default();
                    absent.push((path, format!("it is not there, and {}{line} names it", self.list.path)));
                    None
                }
            }
        };
        self.entries.iter().filter_map(item).collect()
    }
}

impl Entry {
    /// An error at the line that names the image.
    fn error(&self, list: &List, reason: String) -> Error {
        match self.line {
            Some(line) => list.error_at(line, reason),
            None => list.error(reason),
        }
    }
}
