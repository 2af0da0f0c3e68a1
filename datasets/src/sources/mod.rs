//! Readers of data sets as they lie on disk: each makes a [`crate::Dataset`] out of a folder or an archive.

mod aircraft;
mod archive;
mod cifar;
mod class_folders;
mod decode;
mod dtd;
mod food101;
mod layout;
mod lists;
mod members;
mod pets;
mod pickle;
pub mod plan;
mod sun397;

pub use aircraft::AIRCRAFT;
pub use cifar::{CIFAR10, CIFAR100, is_cifar10_batches};
pub use class_folders::{CIFAR10_CLASSES, FolderSpec, read_cifar10_folders, read_class_folders};
pub use dtd::DTD;
pub use food101::FOOD101;
pub use pets::PETS;
pub use sun397::SUN397;
