//! Which image of an input goes into which split of the pack.

use serde_json::Value;

use crate::set_kind::SetKind;

/// One image of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Member with the image; of a member with several images, `member#17`.
    pub image: String,
    /// Class index.
    pub label: i32,
    /// Member with the mask of class ids.
    pub mask: Option<String>,
    /// Member with the seven latents.
    pub latents: Option<String>,
}

impl Sample {
    /// An image with a label and nothing else.
    pub(super) fn labelled(image: impl Into<String>, label: i32) -> Sample {
        Sample { image: image.into(), label, mask: None, latents: None }
    }
}

/// A data set before its images are read.
#[derive(Clone, Debug, PartialEq)]
pub struct PackPlan {
    /// Name in tables.
    pub name: String,
    /// What a pair is.
    pub kind: SetKind,
    /// Class names; labels index it. In sets with masks, the names of the ids 1, 2, ...; 0 is void.
    pub class_names: Vec<String>,
    /// Views of each object, renders only. Samples k * views .. (k + 1) * views of a split are the views of
    /// object k.
    pub views: Option<usize>,
    /// The splits of the set out of `train`, `val` and `test`, in this order.
    pub splits: Vec<(String, Vec<Sample>)>,
    /// Members that a list names and that are missing, each with the reason. They are an error unless the
    /// user allows to leave images out.
    pub missing: Vec<(String, String)>,
    /// Further facts that decided labels and splits, for the provenance.
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
