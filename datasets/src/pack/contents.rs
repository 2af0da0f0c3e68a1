//! The data of a pack, before it is written.

use std::io::{self, Write};

use ndarray::Array2;
use rayon::prelude::*;

use super::storage::Storage;
use crate::scene_latents::SceneLatents;
use crate::set_kind::SetKind;

/// The data of a pack.
pub(crate) struct Contents<'a> {
    pub name: &'a str,
    pub kind: SetKind,
    pub class_names: &'a [String],
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub provenance: &'a serde_json::Value,
    pub splits: Vec<SplitContents<'a>>,
}

/// The data of a split.
pub(crate) struct SplitContents<'a> {
    pub name: &'a str,
    pub labels: &'a [i32],
    /// Names of the images in the source; `None` for generated sets.
    pub names: Option<Vec<&'a str>>,
    pub scene: Option<&'a SceneLatents>,
    pub images: Payload<'a>,
    pub masks: Option<Payload<'a>>,
}

/// Writes bytes to the given writer.
pub(crate) type WriteBytes<'a> = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + 'a>;

/// Images or masks, and how to write their bytes.
pub(crate) struct Payload<'a> {
    pub storage: Storage,
    /// (N, 32), BLAKE3 hash of each image or mask.
    pub checksums: Array2<u8>,
    /// Writes the bytes of all images or masks, in order.
    pub write: WriteBytes<'a>,
}

/// The BLAKE3 hash of each of `parts`: (N, 32).
pub(crate) fn blake3_rows<'b>(parts: impl IndexedParallelIterator<Item = &'b [u8]>) -> Array2<u8> {
    let hashes: Vec<[u8; blake3::OUT_LEN]> = parts.map(|part| *blake3::hash(part).as_bytes()).collect();
    Array2::from(hashes)
}

impl Contents<'_> {
    /// The BLAKE3 hash (hex) for the attribute `content`. It depends only on the data, not on their source or
    /// the layout of the file.
    pub(super) fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        let floats =
            |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        add(self.name.as_bytes());
        add(self.kind.name().as_bytes());
        self.class_names.iter().for_each(|name| add(name.as_bytes()));
        add(&floats(&mut self.mean.into_iter()));
        add(&floats(&mut self.std.into_iter()));
        for split in &self.splits {
            add(split.name.as_bytes());
            add(&split.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
            for payload in std::iter::once(&split.images).chain(&split.masks) {
                add(&storage_bytes(&payload.storage));
                add(&payload.checksums.iter().copied().collect::<Vec<u8>>());
            }
            if let Some(scene) = split.scene {
                add(&(scene.views as u64).to_le_bytes());
                add(&floats(&mut scene.latents.iter().copied()));
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl<'a> SplitContents<'a> {
    /// The images and the masks, each with the prefix of its dataset names.
    pub(super) fn payloads(&self) -> impl Iterator<Item = (&'static str, &Payload<'a>)> {
        std::iter::once(("image", &self.images)).chain(self.masks.iter().map(|masks| ("mask", masks)))
    }
}

fn storage_bytes(storage: &Storage) -> Vec<u8> {
    match storage {
        Storage::Pixels { height, width, channels } => {
            [*height, *width, *channels].iter().flat_map(|&axis| (axis as u64).to_le_bytes()).collect()
        }
        Storage::Encoded { sizes, .. } => {
            sizes.iter().flatten().flat_map(|side| side.to_le_bytes()).collect()
        }
    }
}
