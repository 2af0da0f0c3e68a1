//! The plan of a pack: which image of an input goes into which split.

use serde_json::Value;

use crate::set_kind::SetKind;

/// One image of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Member with the image. For a member with several images, `member#17`.
    pub image: String,
    /// Class index.
    pub label: i32,
    /// Member with the mask of class ids, if any.
    pub mask: Option<String>,
    /// Member with the seven latents, if any.
    pub latents: Option<String>,
}

impl Sample {
    /// A sample with only an image and a label.
    pub(super) fn labelled(image: impl Into<String>, label: i32) -> Sample {
        Sample { image: image.into(), label, mask: None, latents: None }
    }
}

/// A member that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Unusable {
    /// A file, or a folder, whose path ends with a slash.
    pub member: String,
    /// Why not.
    pub reason: String,
    /// Number of images that are left out with it.
    pub images: usize,
}

impl Unusable {
    /// One image, mask or list entry.
    pub(crate) fn one(member: impl Into<String>, reason: impl Into<String>) -> Unusable {
        Unusable { member: member.into(), reason: reason.into(), images: 1 }
    }
}

/// A data set before its images are read.
#[derive(Clone, Debug, PartialEq)]
pub struct PackPlan {
    /// Name in tables.
    pub name: String,
    /// What a pair of views is.
    pub kind: SetKind,
    /// Class names, indexed by label. In sets with masks, the names of the ids 1, 2, ...; id 0 is void.
    pub class_names: Vec<String>,
    /// Number of views per object, renders only. Samples k * views .. (k + 1) * views of a split are the
    /// views of object k.
    pub views: Option<usize>,
    /// The splits of the set: those of `train`, `val` and `test` that it has, in this order.
    pub splits: Vec<(String, Vec<Sample>)>,
    /// Members that are listed but missing, and folders without a place. They are an error unless the user
    /// allows skipping images.
    pub missing: Vec<Unusable>,
    /// Other facts that determined labels and splits, for the provenance.
    pub notes: Value,
}

impl PackPlan {
    /// A set of photographs without missing members.
    pub(super) fn photographs(
        name: String,
        class_names: Vec<String>,
        splits: Vec<(String, Vec<Sample>)>,
        notes: Value,
    ) -> PackPlan {
        let kind = SetKind::Photographs;
        PackPlan { name, kind, class_names, views: None, splits, missing: Vec::new(), notes }
    }
}
