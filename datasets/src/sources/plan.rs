//! What a source says about its input before any image is read: which member goes where.

use std::collections::BTreeMap;
use std::path::Path;

use image::RgbImage;

use crate::dataset::Kind;
use crate::error::Result;

/// The members of an input, and those of its files that tell what the others are.
pub struct Listing<'a> {
    /// The folder or archive, for messages.
    pub input: &'a Path,
    /// Path and bytes of every regular file, sorted by path. Parts are joined by `/`; a member of an archive inside the input lies
    /// in a folder with the archive's name, as `n01440764.tar/n01440764_18.JPEG`.
    pub members: Vec<(String, u64)>,
    /// The files that [`Source::is_list`] asked for, by path.
    pub lists: BTreeMap<String, Vec<u8>>,
}

/// What a user may say about labels and splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Name of the set in tables, in place of the source's own.
    pub name: Option<String>,
    /// Share of each class that becomes the test split where the source names none; in (0, 1).
    pub test_fraction: f64,
    /// Seed of that split.
    pub seed: u64,
}

/// One image of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Member with the image; of a member with several, `member#17`.
    pub image: String,
    /// Class index.
    pub label: i32,
    /// Member with the mask of class ids.
    pub mask: Option<String>,
    /// Member with the seven latents.
    pub latents: Option<String>,
}

/// A data set before its images are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name as it stands in tables.
    pub name: String,
    /// What a pair is.
    pub kind: Kind,
    /// Class names; labels index it. Of a set with masks: of the ids 1, 2, ...; 0 is void.
    pub class_names: Vec<String>,
    /// Views of an object, renders only: the views of object k are the items k*views .. (k+1)*views of its split.
    pub views: Option<usize>,
    /// `train`, `val` and `test`, those that there are, in this order.
    pub splits: Vec<(String, Vec<Item>)>,
    /// Members that lists name and that are not there, each with who names it. Nothing is packed where there are some, unless the user
    /// leaves them out.
    pub absent: Vec<(String, String)>,
    /// What else decided about labels and splits, for the provenance.
    pub notes: serde_json::Value,
}

/// The images of a member that holds several.
pub type Records = fn(member: &str, bytes: &[u8]) -> std::result::Result<Vec<RgbImage>, String>;

/// An official on-disk layout.
pub struct Source {
    /// KIND of `data pack`.
    pub kind: &'static str,
    /// Whether the member of this path must be read before any image: lists, labels, splits. Never an image.
    pub is_list: fn(path: &str) -> bool,
    /// Which member goes where.
    ///
    /// # Errors
    /// [`crate::Error::Format`] and [`crate::Error::Member`] for what is missing, doubled or out of range, by name.
    pub plan: fn(&Listing, &Options) -> Result<Plan>,
    /// Of members with several images; the others are JPEG or PNG files.
    pub records: Option<Records>,
    /// Side of a set whose images all are squares of one small size: they are stored as pixels.
    pub side: Option<usize>,
    /// What `data list` says.
    pub about: About,
}

/// What `data list` says about a set.
pub struct About {
    /// Name in tables.
    pub name: &'static str,
    /// Where INPUT must point, and what must lie below it (several lines).
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
