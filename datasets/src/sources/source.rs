//! What a source must provide.

use image::RgbImage;

use super::access::Access;
use super::listing::Listing;
use super::plan::PackPlan;
use crate::error::Result;

/// The user's options for name and splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Name of the set in tables. It replaces the source's own name.
    pub name: Option<String>,
    /// Share of each class that goes to the test split, in (0, 1). It is used only if the source has no
    /// splits.
    pub test_fraction: f64,
    /// Seed of that split.
    pub seed: u64,
}

impl Options {
    /// The name in tables: the user's name, or `default`.
    pub(super) fn name_or(&self, default: &str) -> String {
        self.name.clone().unwrap_or_else(|| default.to_owned())
    }
}

/// Decodes all images of a member that contains several.
pub type Records = fn(member: &str, bytes: &[u8]) -> std::result::Result<Vec<RgbImage>, String>;

/// An official on-disk layout of a data set.
pub struct Source {
    /// The KIND argument of `data pack`.
    pub kind: &'static str,
    /// Whether the member at this path must be read before any image: lists, labels, splits. Never true for a
    /// file with a single image.
    pub is_list: fn(path: &str) -> bool,
    /// Whether the kind of the member at this path is told by its content, because images may have any name.
    /// Never true for a list.
    pub is_sniffed: fn(path: &str) -> bool,
    /// Decides where each member goes.
    ///
    /// # Errors
    /// [`crate::Error::Format`] and [`crate::Error::Member`] say what is missing, duplicate or out of range.
    pub plan: fn(&Listing, &Options) -> Result<PackPlan>,
    /// Decoder for members with several images. All other members are image files.
    pub records: Option<Records>,
    /// Side of the images if all are squares of one small size. They are stored as pixel arrays.
    pub side: Option<usize>,
    /// What `data list` prints.
    pub info: SourceInfo,
}

/// What `data list` prints about a set.
pub struct SourceInfo {
    /// Name in tables.
    pub name: &'static str,
    /// What INPUT must contain, in several lines.
    pub expects: &'static str,
    /// Published sizes, such as `50,000 train / 10,000 test`.
    pub sizes: &'static str,
    /// How it is obtained.
    pub access: Access,
    /// The paper or page that describes the set.
    pub described: &'static str,
    /// Terms of use as stated by the authors.
    pub licence: &'static str,
}
