//! Data of eqr-bench: source -> pack (HDF5) -> two views, transform parameters, label.

pub mod dataset;
pub mod draw;
pub mod error;
mod files;
pub mod known;
pub mod loader;
pub mod pack;
pub mod packing;
pub mod prefetch;
pub mod scene;
pub mod show;
pub mod solids;
pub mod sources;
pub mod targets;
pub mod transforms;
mod view_pairs;

pub use dataset::{Dataset, Kind, Scene, Split};
pub use error::{Error, Result};
pub use known::{known_count, known_images};
pub use loader::Loader;
pub use pack::{Pack, PackedSplit};
pub use prefetch::Prefetch;
pub use view_pairs::view_pairs;

/// Version of the HDF5 library in use, as `1.10.8`.
pub fn hdf5_version() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}
