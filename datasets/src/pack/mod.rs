//! Packs: a data set as one HDF5 file.
//!
//! # Format, version 2
//! The first 512 bytes (HDF5's user block, which HDF5 readers skip) are the seal, lines of text padded with spaces:
//! `eqr-pack 2`; `length` (bytes of the file); a line `payload` (offset and bytes) for every run of image or mask bytes; `blake3` of the
//! lines above and of every byte after the block that is no payload. HDF5 itself may crash over damaged structures: by the seal they
//! are found first. Root attributes: `format` = "eqr-pack", `format_version`, `name`, `kind` ("photographs" or "renders"), `class_names`
//! (strings), `mean` and `std` (3 float32, of the training images in [0, 1]), `provenance` (JSON) and `content`. Groups `train`, `val`,
//! `test`, those that the set has, each with contiguous datasets:
//!
//! | dataset | shape | type |
//! |---|---|---|
//! | `images` | (N, H, W, 3) | uint8, RGB: of a set of one size |
//! | `image_bytes` | (B) | uint8: else, the images' files one after the other: JPEG or PNG, or GIF or BMP where the source has such, whatever their names say (the first frame counts), |
//! | `image_places` | (N, 2) | uint64, offset in `image_bytes` and length, |
//! | `image_sizes` | (N, 2) | uint32, height and width |
//! | `checksums` | (N, 32) | uint8, BLAKE3 of each image's bytes as they are stored |
//! | `labels` | (N) | int32, index into `class_names` |
//! | `names` | (M) | uint8, UTF-8: the images' names in their source, each ended by a line feed; absent of generated sets |
//! | `masks`, or `mask_bytes`, `mask_places`, `mask_sizes`; `mask_checksums` | as above, (N, H, W) | sets with masks: a class id a pixel, 0 = void; PNG |
//! | `latents` | (N, 7) | float32, renders only, attribute `views` = views per object |
//!
//! `content` is the BLAKE3 (hex) of name, kind, class names, mean, std and, for each split, its name, form, labels, checksums, views and
//! latents; texts and arrays each preceded by their length in bytes as a little-endian uint64, numbers little-endian. Nothing in a pack
//! depends on the time or the number of threads: the same data set gives the same bytes.
//!
//! A pack is written under a temporary name beside its own, synced and renamed: a half-written one never bears the name. In Python:
//! `f = h5py.File("cifar10.h5"); f["train/images"][17]; f.attrs["class_names"][f["train/labels"][17]]`; of an encoded set `o, n =
//! f["train/image_places"][17]; PIL.Image.open(io.BytesIO(f["train/image_bytes"][o:o+n]))`.

mod content;
mod read;
mod seal;
mod verify;
mod write;

pub use read::{Form, Pack, PackedSplit};
pub use verify::verify;
pub(crate) use write::{Contents, Payload, SplitContents, checksums_of, write};

/// Value of the root attribute `format`.
const FORMAT: &str = "eqr-pack";
/// Version that this program writes and reads.
const VERSION: u32 = 2;
/// Values that a render's latents have.
pub(crate) const LATENTS: usize = 7;
/// What to do about a pack that is not whole.
const REPACK: &str = "hint: copy or pack the set again";
/// Names that a split may have, in the order in which they stand.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];

impl crate::dataset::Kind {
    /// Name in a pack.
    pub(crate) const fn pack_name(self) -> &'static str {
        match self {
            Self::Photographs => "photographs",
            Self::Renders => "renders",
        }
    }
}
