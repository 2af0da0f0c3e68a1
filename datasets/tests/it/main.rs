//! Integration tests of the crate, in one binary.

mod common;

mod archives;
mod cifar;
mod class_folders;
mod images;
mod listed_layouts;
mod loader;
mod mutations;
mod output;
mod packing;
mod packs;
mod placed;
mod reference_transforms;
mod sealed;
mod shared_archives;
mod show;
mod transforms;
mod window;
