//! A split whose images stay in the file. Every image is compared with its checksum when it is first read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image::{GrayImage, RgbImage};
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::format::REPACK;
use super::storage::Storage;
use crate::error::{Error, Result};
use crate::images::decode::{decode, decode_mask};
use crate::scene_latents::SceneLatents;

/// A split whose images stay in the file. Any number of threads and processes may read it at the same time.
#[derive(Clone, Debug)]
pub struct PackedSplit {
    /// `train`, `val` or `test`.
    pub name: &'static str,
    /// (N), class index.
    pub labels: Vec<i32>,
    /// Scene latents; renders only.
    pub scene: Option<SceneLatents>,
    pub(super) images: StoredImages,
    pub(super) masks: Option<StoredImages>,
    pub(super) file: Arc<File>,
    pub(super) path: Arc<Path>,
}

/// The images or masks of a split, and where they are in the file.
#[derive(Clone, Debug)]
pub(super) struct StoredImages {
    pub storage: Storage,
    /// Position of the first byte of the data in the file.
    pub start: u64,
    /// (N, 32), BLAKE3 hash of the bytes of every image.
    checksums: Arc<Array2<u8>>,
    /// Whether an image has been read with its checksum. Pixels are read as fast as their checksums are
    /// taken, so that further epochs do not take them again.
    checked: Arc<[AtomicBool]>,
}

const WRONG_CHECKSUM: &str = "its bytes do not have the recorded checksum";

impl StoredImages {
    /// Images stored as `storage` from the byte `start`, with their checksums: (N, 32).
    pub fn new(storage: Storage, start: u64, checksums: Array2<u8>) -> Self {
        let checked = (0..checksums.nrows()).map(|_| AtomicBool::new(false)).collect();
        StoredImages { storage, start, checksums: Arc::new(checksums), checked }
    }

    /// Whether `bytes` are those of image `index`.
    fn matches(&self, index: usize, bytes: &[u8]) -> bool {
        self.checksums.index_axis(Axis(0), index).iter().eq(blake3::hash(bytes).as_bytes())
    }

    /// Whether `bytes` are those of image `index`, or were when it was first read.
    fn matches_once(&self, index: usize, bytes: &[u8]) -> bool {
        let checked = &self.checked[index];
        let matches = checked.load(Ordering::Relaxed) || self.matches(index, bytes);
        checked.store(matches, Ordering::Relaxed);
        matches
    }
}

impl PackedSplit {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the split has no images. Such a pack cannot be written.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of units per training epoch: objects for renders, images for photographs.
    pub fn units(&self) -> usize {
        self.scene.as_ref().map_or(self.len(), |scene| self.len() / scene.views)
    }

    /// Whether every image has a mask.
    pub fn has_masks(&self) -> bool {
        self.masks.is_some()
    }

    /// Height and width of image `index`.
    pub fn size(&self, index: usize) -> [usize; 2] {
        self.images.storage.size(index)
    }

    /// Height and width of all images, if they have one size.
    pub fn one_size(&self) -> Option<[usize; 2]> {
        let first = self.size(0);
        let is_one = self.is_decoded() || (1..self.len()).all(|index| self.size(index) == first);
        is_one.then_some(first)
    }

    /// The common side of all images, if all are squares of one size.
    pub fn side(&self) -> Option<usize> {
        self.one_size().filter(|[height, width]| height == width).map(|[side, _]| side)
    }

    /// Number of bytes that all images take in the file.
    pub fn image_bytes(&self) -> u64 {
        let [last, bytes] = self.images.storage.place(self.len() - 1);
        last + bytes
    }

    /// Whether the images are stored as pixel arrays and need no decoding.
    pub fn is_decoded(&self) -> bool {
        matches!(self.images.storage, Storage::Pixels { .. })
    }

    /// The file of image `index`; `None` if the images are stored as pixel arrays.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn image_file(&self, index: usize) -> Result<Option<Vec<u8>>> {
        if self.is_decoded() { Ok(None) } else { self.bytes(&self.images, "image", index).map(Some) }
    }

    /// Image `index`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is damaged.
    pub fn image(&self, index: usize) -> Result<RgbImage> {
        let bytes = self.bytes(&self.images, "image", index)?;
        let image = match &self.images.storage {
            Storage::Pixels { height, width, .. } => RgbImage::from_raw(*width as u32, *height as u32, bytes),
            Storage::Encoded { .. } => {
                Some(decode(&bytes).map_err(|reason| self.damaged("image", index, &reason))?)
            }
        };
        let image =
            image.filter(|image| [image.height() as usize, image.width() as usize] == self.size(index));
        image.ok_or_else(|| self.damaged("image", index, "its size differs from the size in the pack"))
    }

    /// The mask of image `index`: a class id for each pixel, 0 = void. `None` for sets without masks.
    ///
    /// # Errors
    /// The errors of [`PackedSplit::image`].
    pub fn mask(&self, index: usize) -> Result<Option<GrayImage>> {
        let Some(masks) = &self.masks else { return Ok(None) };
        let bytes = self.bytes(masks, "mask", index)?;
        let mask = match &masks.storage {
            Storage::Pixels { height, width, .. } => {
                GrayImage::from_raw(*width as u32, *height as u32, bytes)
            }
            Storage::Encoded { .. } => {
                Some(decode_mask(&bytes).map_err(|reason| self.damaged("mask", index, &reason))?)
            }
        };
        let mask =
            mask.filter(|mask| [mask.height() as usize, mask.width() as usize] == masks.storage.size(index));
        mask.map(Some)
            .ok_or_else(|| self.damaged("mask", index, "its size differs from the size in the pack"))
    }

    /// Reads all images into `pixels`. They must be stored as pixel arrays, and `pixels` must have their
    /// total size.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot be read, [`Error::Format`] for the first that is damaged.
    pub(crate) fn read_arrays(&self, pixels: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(pixels, self.images.start).map_err(Error::io(&*self.path))?;
        let images = pixels.par_chunks_exact(pixels.len() / self.len()).enumerate();
        match images.find_first(|(index, bytes)| !self.images.matches(*index, bytes)) {
            None => Ok(()),
            Some((index, _)) => Err(self.damaged("image", index, WRONG_CHECKSUM)),
        }
    }

    /// An [`Error::Format`] about the pack.
    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::format(&*self.path, reason)
    }

    /// The stored bytes of the image or mask `index`, which `what` names in the error.
    fn bytes(&self, stored: &StoredImages, what: &str, index: usize) -> Result<Vec<u8>> {
        let bytes = self.unchecked_bytes(stored, index)?;
        if !stored.matches_once(index, &bytes) {
            return Err(self.damaged(what, index, WRONG_CHECKSUM));
        }
        Ok(bytes)
    }

    fn unchecked_bytes(&self, stored: &StoredImages, index: usize) -> Result<Vec<u8>> {
        let [offset, length] = stored.storage.place(index);
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, stored.start + offset).map_err(Error::io(&*self.path))?;
        Ok(bytes)
    }

    /// Index of the first image or mask that does not have its checksum.
    pub(super) fn first_damaged(&self, masks: bool) -> Result<Option<usize>> {
        let Some(stored) = (if masks { self.masks.as_ref() } else { Some(&self.images) }) else {
            return Ok(None);
        };
        let damaged = |index: usize| -> Result<Option<usize>> {
            let bytes = self.unchecked_bytes(stored, index)?;
            Ok((!stored.matches(index, &bytes)).then_some(index))
        };
        let all = (0..self.len()).into_par_iter().map(damaged);
        all.find_first(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None))
    }

    fn damaged(&self, what: &str, index: usize, reason: &str) -> Error {
        self.error(format!("{} {what} {index} is damaged: {reason}\n{REPACK}", self.name))
    }
}
