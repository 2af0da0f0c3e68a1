//! Packs: each stores a data set in one HDF5 file.
//!
//! # Format, version 3
//! The first 512 bytes (HDF5's user block, which HDF5 readers skip) are the seal. It is text, padded with
//! spaces: `eqr-pack 3`; `length` (bytes of the file); a line `payload` (offset and number of bytes) for
//! every block of image or mask bytes; `blake3`, the hash of the lines above and of every byte after the user
//! block that is not payload. HDF5 itself may crash on damaged structures, so the seal is checked first.
//!
//! Root attributes: `format` = "eqr-pack", `format_version`, `name`, `kind` ("photographs" or "renders"),
//! `mean` and `std` (3 float32, of the training images in [0, 1]), `provenance` (JSON) and `content`. The
//! dataset `class_names` of the root holds strings; in version 2, which is read too, it was an attribute. The
//! file has a group for each split of the set: `train`, `val` or `test`. The groups hold contiguous datasets:
//!
//! | dataset | shape | type |
//! |---|---|---|
//! | `images` | (N, H, W, 3) | uint8, RGB: images of one size |
//! | `image_bytes` | (B) | uint8: otherwise, the concatenated image files |
//! | `image_places` | (N, 2) | uint64, offset in `image_bytes` and length |
//! | `image_sizes` | (N, 2) | uint32, height and width |
//! | `checksums` | (N, 32) | uint8, BLAKE3 of each image's bytes as stored |
//! | `labels` | (N) | int32, index into `class_names` |
//! | `names` | (M) | uint8, UTF-8: names of the images in their source, each followed by a line feed |
//! | `masks` | (N, H, W) | uint8: a class id for each pixel, 0 = void |
//! | `latents` | (N, 7) | float32, with the attribute `views` = views per object |
//!
//! Image files are JPEG or PNG, or GIF, BMP, WebP or TIFF if the source has such files. The format is
//! detected from the content, not from the name. If there are several frames, the first is used. Generated
//! sets have no `names`. Sets with masks have `mask_checksums` and either `masks` or `mask_bytes` (PNG),
//! `mask_places` and `mask_sizes`. Only renders have `latents`.
//!
//! `content` is the BLAKE3 hash (hex) of name, kind, class names, mean, std and, for each split, its name,
//! storage, labels, checksums, views and latents. Each text or array is preceded by its length in bytes as a
//! little-endian uint64. Numbers are little-endian. A pack does not depend on the time or the number of
//! threads: the same data set gives the same bytes.
//!
//! A pack is written to a temporary file, synced and renamed, so a file with the final name is always
//! complete. In Python: `f = h5py.File("cifar10.h5"); f["train/images"][17];
//! f["class_names"].asstr()[f["train/labels"][17]]`. For an encoded set: `o, n = f["train/image_places"][17];
//! PIL.Image.open(io.BytesIO(f["train/image_bytes"][o:o+n]))`.

mod contents;
mod format;
mod opened;
mod reader;
mod seal;
mod split;
mod storage;
mod verify;
mod write;

pub(crate) use contents::{Contents, Payload, SplitContents, blake3_rows};
pub use format::{PACK, SPLITS};
pub use opened::Pack;
pub use split::PackedSplit;
pub use storage::Storage;
pub use verify::verify;
pub(crate) use write::write;
