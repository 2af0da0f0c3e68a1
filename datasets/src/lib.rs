//! Data of eqr-bench: source -> pack (HDF5) -> two views, transform parameters, label.
//!
//! Modules from bottom to top. The modules on a line use only each other and the modules on the lines above:
//! - [`draw`], [`set_kind`], [`scene_latents`], [`bytes`], [`error`]: the keyed random generator and the
//!   shared types
//! - [`output`]: writing files
//! - [`file_kind`]: what a file is, for the errors of every reader
//! - `images`, `archives`, `formats`: image files, archives, and the file formats that published sets use
//! - [`sources`]: the official layout of each published data set; [`fetch`]: downloading it
//! - [`pack`]: data sets as HDF5 files; [`dataset`]: the same in memory; [`packing`]: from a source to a pack
//! - [`host_numbers`]: what a batch needs on the device, in one copy
//! - [`transforms`], [`targets`], `view_pairs`, `known_images`, [`loader`], [`prefetch`]: training input
//! - [`scene`], [`solids`]: the 3D renderer and the data set that it generates
//! - [`show`]: pictures of a pack

pub mod archives;
pub mod bytes;
pub mod dataset;
pub mod draw;
pub mod error;
pub mod fetch;
pub mod file_kind;
mod formats;
pub mod host_numbers;
pub mod images;
pub mod known_images;
pub mod loader;
pub mod output;
pub mod pack;
pub mod packing;
pub mod prefetch;
pub mod scene;
pub mod scene_latents;
pub mod set_kind;
pub mod show;
pub mod solids;
pub mod sources;
pub mod targets;
pub mod transforms;
pub mod view_pairs;

pub use dataset::{Dataset, Split};
pub use error::{Error, Result};
pub use file_kind::FileKind;
pub use host_numbers::{DeviceNumbers, HostNumbers, Slot, queued};
pub use known_images::{known_image_count, known_images};
pub use loader::Loader;
pub use pack::{Pack, PackedSplit};
pub use prefetch::Prefetch;
pub use scene_latents::SceneLatents;
pub use set_kind::SetKind;
pub use view_pairs::view_pairs;

/// Version of the HDF5 library in use, such as `1.10.8`.
pub fn hdf5_version() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}
