//! What all sets in folders have in common: which images there are, and the folders that they share.

use super::left_out::counted;
use super::listing::Listing;
use crate::error::{Error, Result};

/// Refuses an input without images or with duplicate paths. `expected` says where the images belong.
///
/// # Errors
/// [`Error::Format`] and [`Error::Member`].
pub(super) fn check_images(listing: &Listing, images: &[&str], expected: &str) -> Result<()> {
    if images.is_empty() {
        let kinds = counted(listing.kinds.values().copied());
        let found = if kinds.is_empty() { "nothing".to_owned() } else { kinds };
        // one kind that stands in place of all images has its own way out
        let first =
            listing.kinds.values().next().filter(|kind| listing.kinds.values().all(|other| other == *kind));
        let formats = format!("hint: expected {expected}, images as JPEG, PNG, GIF, BMP, WebP or TIFF");
        let hint = first.and_then(|kind| kind.hint()).unwrap_or(&formats);
        return Err(Error::format(listing.input, format!("no images, found {found}\n{hint}")));
    }
    match images.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::member(listing.input, pair[0], "two members have this name")),
        None => Ok(()),
    }
}

/// The folders that all `images` share, with a slash at the end. A folder that contains only images is a
/// class and is not among them.
pub(super) fn common_folders<'a>(images: &[&'a str]) -> &'a str {
    let mut common = 0;
    loop {
        let rest = |path: &&'a str| &path[common..];
        let Some((folder, _)) = rest(&images[0]).split_once('/') else { break };
        let shared =
            |path: &&'a str| rest(path).strip_prefix(folder).is_some_and(|path| path.starts_with('/'));
        let is_class = images.iter().all(|path| rest(path).matches('/').count() == 1);
        if is_class || !images.iter().all(shared) {
            break;
        }
        common += folder.len() + 1;
    }
    &images[0][..common]
}
