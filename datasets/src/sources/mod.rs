//! Readers of data sets as they lie on disk: each makes a [`crate::Dataset`] out of a folder or an archive.

mod ade20k;
mod archive;
mod by_seed;
mod class_folder_sets;
mod class_folders;
mod decode;
mod diebench;
mod folders;
mod imagenet;
mod mat5;
mod members;
mod npy;
mod plan;
mod suffix;
#[cfg(test)]
mod testing;

pub use ade20k::ADE20K;
pub use class_folder_sets::{CIFAR10_CLASSES, CIFAR10_FOLDERS, CLASS_FOLDERS};
pub use class_folders::{FolderSpec, read_cifar10_folders, read_class_folders};
pub use diebench::{DIEBENCH, read_latents};
pub use imagenet::IMAGENET;
pub use plan::{About, Item, Listing, Options, Plan, Records, Source};
