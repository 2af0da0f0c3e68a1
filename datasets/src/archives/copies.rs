//! Archives beside what they hold: a download that was unpacked and kept, as torchvision leaves it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::{ARCHIVE_ENDINGS, Listed};
use crate::error::{Error, Result};

/// Removes the files of all `archives` of the folder `input` whose files are also in it, unpacked. Returns
/// these archives.
///
/// # Errors
/// [`Error::Format`] for an archive with a part of its files beside it, any of its images or half of all:
/// which of the two is meant cannot be known.
pub(super) fn remove(input: &Path, archives: Vec<String>, listed: &mut Listed) -> Result<BTreeSet<String>> {
    if archives.is_empty() {
        return Ok(BTreeSet::new());
    }
    let archives: HashSet<&str> = archives.iter().map(String::as_str).collect();
    let mut unpacked: HashMap<&str, u64> = HashMap::new();
    let mut packed: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (path, size) in &listed.members {
        match archive_of(path, &archives) {
            Some(archive) => packed.entry(archive).or_default().push((&path[archive.len() + 1..], *size)),
            None => drop(unpacked.insert(path, *size)),
        }
    }
    let mut copies = BTreeSet::new();
    for (archive, files) in packed {
        let is_image = |path: &str| {
            let kind = listed.kinds.get(&format!("{archive}/{path}"));
            kind.is_some_and(|kind| kind.is_readable_image())
        };
        // numbers of files, and of images among them
        let beside = |base: String| {
            let is_there = |(path, size): &&(&str, u64)| {
                unpacked.get(format!("{base}{}", without_endings(path)).as_str()) == Some(size)
            };
            let there = || files.iter().filter(is_there);
            (there().count(), there().filter(|(path, _)| is_image(path)).count())
        };
        let folder = archive.rfind('/').map_or("", |slash| &archive[..=slash]);
        let (found, images) = beside(folder.to_owned()).max(beside(format!("{}/", without_ending(archive))));
        if found == files.len() {
            listed.remarks.push(format!("{archive} was not read: its files lie unpacked beside it"));
            copies.insert(archive.to_owned());
        } else if images > 0 || found > 0 && 2 * found >= files.len() {
            let reason = format!(
                "{found} of its {} files lie unpacked beside it, the others do not\n\
                 hint: unpack it again, or remove the archive or its unpacked files",
                files.len()
            );
            return Err(Error::format(input.join(archive), reason));
        }
    }
    let copied: HashSet<&str> = copies.iter().map(String::as_str).collect();
    listed.members.retain(|(path, _)| archive_of(path, &copied).is_none());
    listed.lists.retain(|path, _| archive_of(path, &copied).is_none());
    listed.kinds.retain(|path, _| archive_of(path, &copied).is_none());
    Ok(copies)
}

/// The one of `archives` that contains `path`.
fn archive_of<'a>(path: &str, archives: &HashSet<&'a str>) -> Option<&'a str> {
    path.match_indices('/').find_map(|(slash, _)| archives.get(&path[..slash]).copied())
}

/// A path in which archives have the names of the folders that they become.
fn without_endings(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folders, file)) => {
            let folders: Vec<&str> = folders.split('/').map(without_ending).collect();
            format!("{}/{file}", folders.join("/"))
        }
        None => path.to_owned(),
    }
}

fn without_ending(name: &str) -> &str {
    ARCHIVE_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}
