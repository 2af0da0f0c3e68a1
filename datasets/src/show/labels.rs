//! Texts about a split and its images.

use super::sheet::grouped;
use crate::error::Error;
use crate::pack::{Pack, PackedSplit};
use crate::set_kind::SetKind;

/// One line that describes a split.
pub(super) fn summary(pack: &Pack, split: &PackedSplit) -> String {
    let what = match (pack.kind, split.has_masks()) {
        (SetKind::Renders, _) => {
            format!("{} renders of {} objects", grouped(split.len()), grouped(split.units()))
        }
        (SetKind::Photographs, true) => format!("{} images with masks", grouped(split.len())),
        (SetKind::Photographs, false) => format!("{} images", grouped(split.len())),
    };
    match pack.has_labels() {
        true => format!("{}: {what}, {} classes", split.name, grouped(pack.class_names.len())),
        false => format!("{}: {what}", split.name),
    }
}

/// The class name of image `index`. `None` for sets without labels, and for those with masks, where pixels
/// have classes instead of images.
pub(super) fn class_name<'a>(pack: &'a Pack, split: &PackedSplit, index: usize) -> Option<&'a str> {
    let label = split.labels.get(index).filter(|_| pack.has_labels() && !split.has_masks())?;
    pack.class_names.get(usize::try_from(*label).ok()?).map(String::as_str)
}

/// An [`Error::Invalid`] about an image that cannot be drawn.
pub(super) fn undrawable(split: &PackedSplit, index: usize) -> impl FnOnce(String) -> Error {
    let name = split.name;
    move |reason| Error::Invalid(format!("{name} image {index}: {reason}"))
}
