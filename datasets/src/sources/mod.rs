//! Published data sets, with one file per official layout. A [`Source`] decides where each image goes, from
//! the paths and lists of an input. It never reads an image.
//!
//! To add a data set, add a file here, a line in [`SOURCES`], and tests.

mod access;
mod ade20k;
mod aircraft;
mod cifar;
mod class_folder_layout;
mod class_folders;
mod diebench;
mod dtd;
mod food101;
mod image_tree;
mod imagenet;
mod images;
mod left_out;
mod listed_splits;
mod listing;
mod member_path;
mod pets;
mod plan;
mod seeded_split;
mod source;
mod split_names;
mod sun397;
#[cfg(test)]
mod testing;

pub use access::{Access, Download, Size};
pub use ade20k::ADE20K;
pub use aircraft::AIRCRAFT;
pub use cifar::{CIFAR10, CIFAR100};
pub use class_folders::{CIFAR10_CLASSES, CLASS_FOLDERS};
pub use diebench::{DIEBENCH, read_latents};
pub use dtd::DTD;
pub use food101::FOOD101;
pub use imagenet::IMAGENET;
pub use images::IMAGES;
pub use listing::Listing;
pub use pets::PETS;
pub use plan::{PackPlan, Sample, Unusable};
pub(crate) use seeded_split::check_test_fraction;
pub use source::{Options, Records, Source, SourceInfo};
pub use sun397::SUN397;

/// All sets that can be packed.
pub const SOURCES: [&Source; 12] = [
    &CIFAR10,
    &CIFAR100,
    &FOOD101,
    &SUN397,
    &DTD,
    &PETS,
    &AIRCRAFT,
    &IMAGENET,
    &ADE20K,
    &DIEBENCH,
    &CLASS_FOLDERS,
    &IMAGES,
];

/// The source with this KIND.
pub fn source(kind: &str) -> Option<&'static Source> {
    SOURCES.into_iter().find(|source| source.kind == kind)
}
