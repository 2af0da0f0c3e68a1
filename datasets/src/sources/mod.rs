//! Readers of data sets as they lie on disk: a [`Tree`] yields members, a [`Source`] says which of them goes where.

mod ade20k;
mod aircraft;
mod by_seed;
mod cifar;
mod class_folder_sets;
pub mod decode;
mod diebench;
mod dtd;
pub mod encode;
mod folders;
mod food101;
mod imagenet;
mod layout;
mod lists;
mod mat5;
mod members;
mod npy;
mod pets;
mod pickle;
mod plan;
pub mod resize;
mod suffix;
mod sun397;
#[cfg(test)]
mod testing;
pub mod tree;

pub use ade20k::ADE20K;
pub use aircraft::AIRCRAFT;
pub use cifar::{CIFAR10, CIFAR100};
pub use class_folder_sets::{CIFAR10_CLASSES, CLASS_FOLDERS};
pub use diebench::{DIEBENCH, read_latents};
pub use dtd::DTD;
pub use food101::FOOD101;
pub use imagenet::IMAGENET;
pub use pets::PETS;
pub use plan::{About, Item, Listing, Options, Plan, Records, Source};
pub use sun397::SUN397;
pub use tree::{Tree, Visit};

/// Every set that can be packed.
pub const SOURCES: [&Source; 11] =
    [&CIFAR10, &CIFAR100, &FOOD101, &SUN397, &DTD, &PETS, &AIRCRAFT, &IMAGENET, &ADE20K, &DIEBENCH, &CLASS_FOLDERS];

/// The source of this KIND.
pub fn source(kind: &str) -> Option<&'static Source> {
    SOURCES.into_iter().find(|source| source.kind == kind)
}
