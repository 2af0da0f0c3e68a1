//! What a source must provide.

use image::RgbImage;

use super::listing::Listing;
use super::plan::PackPlan;
use crate::error::Result;

/// Options of a user about name and splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Name of the set in tables, instead of the source's own.
    pub name: Option<String>,
    /// Share of each class for the test split, used if the source has no splits; in (0, 1).
    pub test_fraction: f64,
    /// Seed of that split.
    pub seed: u64,
}

impl Options {
    /// The name in tables: the user's, or `default`.
    pub(super) fn name_or(&self, default: &str) -> String {
        self.name.clone().unwrap_or_else(|| default.to_owned())
    }
}

/// Decodes all images of a member that holds several.
pub type Records = fn(member: &str, bytes: &[u8]) -> std::result::Result<Vec<RgbImage>, String>;

/// An official layout of a data set on disk.
pub struct Source {
    /// KIND of `data pack`.
    pub kind: &'static str,
    /// Whether the member of this path must be read before any image: lists, labels, splits. Never true for
    /// an image.
    pub is_list: fn(path: &str) -> bool,
    /// Decides which member goes where.
    ///
    /// # Errors
    /// [`crate::Error::Format`] and [`crate::Error::Member`] name what is missing, duplicate or out of range.
    pub plan: fn(&Listing, &Options) -> Result<PackPlan>,
    /// For sets with several images in a member; other members are JPEG or PNG files.
    pub records: Option<Records>,
    /// Side of a set whose images are all squares of one small size. They are stored as pixels.
    pub side: Option<usize>,
    /// What `data list` prints.
    pub info: SourceInfo,
}

/// What `data list` prints about a set.
pub struct SourceInfo {
    /// Name in tables.
    pub name: &'static str,
    /// What INPUT must be and hold; several lines.
    pub expects: &'static str,
    /// Published sizes, as `50,000 train / 10,000 test`.
    pub sizes: &'static str,
    /// Bytes to download, as `163 MB`.
    pub download: &'static str,
    /// The paper or page that describes it.
    pub described: &'static str,
    /// Terms of use as its authors state them.
    pub licence: &'static str,
}
