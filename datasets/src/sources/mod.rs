//! Readers of data sets as they lie on disk: each makes a [`crate::Dataset`] out of a folder or an archive.

mod archive;
mod class_folders;
pub mod decode;
pub mod encode;
mod members;
pub mod resize;
pub mod tree;

pub use class_folders::{CIFAR10_CLASSES, FolderSpec, read_cifar10_folders, read_class_folders};
pub use tree::{Tree, Visit};
