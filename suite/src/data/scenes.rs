//! Scenes for segmentation: the images of a pack with their masks, each at its own size.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};
use eqr_datasets::{Pack, PackedSplit};
use eqr_probes::scenes::{Scene, Scenes};
use image::{GrayImage, RgbImage};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// Mask value of pixels without a class; classes are 0..C. In a pack, void is 0 and the classes are 1..=C.
pub const VOID: i64 = -1;

/// Largest size, in bytes, of a split whose decoded scenes are kept in memory. Each scene is needed once per
/// epoch.
const CACHE_BYTES: usize = 2 << 30;

/// Bytes of a decoded pixel: red, green, blue and mask.
const PIXEL_BYTES: usize = 4;

/// The scenes of a split, on one device.
pub struct PackScenes<'a> {
    decoder: Decoder<'a>,
    normalise: &'a dyn Fn(&Tensor) -> Tensor,
    device: Device,
}

/// The part of [`PackScenes`] that threads can share.
struct Decoder<'a> {
    split: &'a PackedSplit,
    /// A slot for each scene; empty if all scenes together would take too much memory.
    cache: Vec<OnceLock<Arc<Decoded>>>,
}

struct Decoded {
    image: RgbImage,
    /// Class ids; 0 is void.
    mask: GrayImage,
}

/// Number of classes in the masks of `pack`, at least 2.
///
/// # Errors
/// A pack with one class.
pub fn class_count(pack: &Pack) -> Result<i64> {
    match pack.class_names.len() {
        1 => bail!(
            "{}: one class only, `{}`: segmentation needs at least two",
            pack.path().display(),
            pack.class_names[0]
        ),
        classes => Ok(classes as i64),
    }
}

impl<'a> PackScenes<'a> {
    /// The scenes of the split `name`; `normalise` turns pixels (3, H, W) in [0, 1] into the encoder's input.
    ///
    /// # Errors
    /// A split that is absent or has no masks, masks without any class, an image that cannot be read.
    pub fn open(
        pack: &'a Pack,
        name: &str,
        normalise: &'a dyn Fn(&Tensor) -> Tensor,
        device: Device,
    ) -> Result<PackScenes<'a>> {
        let split = pack.expect_split(name)?;
        let place = format!("{}: the {name} images", pack.path().display());
        if !split.has_masks() {
            bail!("{place} have no masks\nhint: `eqr-bench data pack ade20k` packs images with masks");
        }
        if !has_class(split)? {
            let hint = "hint: look at them with `eqr-bench data show`";
            bail!("{place} have masks of void (0) only, and segmentation needs pixels with a class\n{hint}");
        }
        let pixels: usize =
            (0..split.len()).map(|index| split.size(index)).map(|[height, width]| height * width).sum();
        let places = if pixels.saturating_mul(PIXEL_BYTES) <= CACHE_BYTES { split.len() } else { 0 };
        let decoder = Decoder { split, cache: (0..places).map(|_| OnceLock::new()).collect() };
        Ok(PackScenes { decoder, normalise, device })
    }

    /// The split.
    pub fn split(&self) -> &'a PackedSplit {
        self.decoder.split
    }

    fn tensors(&self, Decoded { image, mask }: &Decoded) -> (Tensor, Tensor) {
        let [height, width] = [image.height(), image.width()].map(i64::from);
        let pixels = Tensor::from_slice(image.as_raw()).view([height, width, 3]).permute([2, 0, 1]);
        let pixels = pixels.to_device(self.device).to_kind(Kind::Float) / 255.0;
        let mask = Tensor::from_slice(mask.as_raw()).view([height, width]).to_device(self.device);
        ((self.normalise)(&pixels), mask.to_kind(Kind::Int64) + VOID)
    }
}

impl Scenes for PackScenes<'_> {
    fn count(&self) -> usize {
        self.decoder.split.len()
    }

    fn scene(&self, index: usize) -> Scene {
        Ok(self.tensors(&*self.decoder.decoded(index)?))
    }

    fn scenes(&self, indices: &[usize]) -> Vec<Scene> {
        let decoder = &self.decoder;
        let all: Vec<_> = indices.par_iter().map(|&index| decoder.decoded(index)).collect();
        all.into_iter().map(|decoded| Ok(self.tensors(&*decoded?))).collect()
    }
}

impl Decoder<'_> {
    /// Scene `index`, cached if there is a slot for it.
    fn decoded(&self, index: usize) -> eqr_datasets::Result<Arc<Decoded>> {
        let place = self.cache.get(index);
        if let Some(found) = place.and_then(OnceLock::get) {
            return Ok(found.clone());
        }
        let image = self.split.image(index)?;
        let mask = self.split.mask(index)?.expect("a split with masks");
        let decoded = Arc::new(Decoded { image, mask });
        if let Some(place) = place {
            // another thread may have cached it in the meantime
            let _ = place.set(decoded.clone());
        }
        Ok(decoded)
    }
}

/// Whether any pixel of the masks has a class; in most data sets the first mask shows it.
fn has_class(split: &PackedSplit) -> eqr_datasets::Result<bool> {
    for index in 0..split.len() {
        if split.mask(index)?.is_some_and(|mask| mask.iter().any(|&id| id != 0)) {
            return Ok(true);
        }
    }
    Ok(false)
}
