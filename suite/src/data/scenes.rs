//! Scenes for segmentation: images with their masks out of a pack, each at its own size.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};
use eqr_datasets::{Pack, PackedSplit};
use eqr_probes::scenes::{Scene, Scenes};
use image::{GrayImage, RgbImage};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// A mask's value of pixels that have no class; classes are 0..C. In a pack these are 0 and 1..=C.
pub const VOID: i64 = -1;

/// Bytes up to which a split's decoded scenes are kept in memory: each is needed once an epoch.
const KEPT: usize = 2 << 30;

/// Bytes of a decoded pixel: red, green, blue and the mask's.
const PIXEL: usize = 4;

/// The scenes of a split, on one device.
pub struct PackScenes<'a> {
    decoder: Decoder<'a>,
    normalise: &'a dyn Fn(&Tensor) -> Tensor,
    device: Device,
}

/// What threads may share.
struct Decoder<'a> {
    split: &'a PackedSplit,
    /// A place for each scene; none where they take too much memory.
    kept: Vec<OnceLock<Arc<Decoded>>>,
}

struct Decoded {
    image: RgbImage,
    /// Class ids, 0 = void.
    mask: GrayImage,
}

/// Number of classes of the masks of `pack`, at least 2.
///
/// # Errors
/// A pack of one class.
pub fn classes(pack: &Pack) -> Result<i64> {
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
    /// The scenes of the split `name`; `normalise` makes of pixels (3, H, W) in [0, 1] what the encoder takes.
    ///
    /// # Errors
    /// A split that is not there or has no masks, masks without any class, an image that cannot be read.
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
        if !any_class(split)? {
            bail!(
                "{place} have masks of void (0) only, and segmentation needs pixels with a class\nhint: look at them with `eqr-bench data show`"
            );
        }
        let pixels: usize = (0..split.len()).map(|index| split.size(index)).map(|[height, width]| height * width).sum();
        let places = if pixels.saturating_mul(PIXEL) <= KEPT { split.len() } else { 0 };
        let decoder = Decoder { split, kept: (0..places).map(|_| OnceLock::new()).collect() };
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
    /// Scene `index`, kept where there is a place for it.
    fn decoded(&self, index: usize) -> eqr_datasets::Result<Arc<Decoded>> {
        let place = self.kept.get(index);
        if let Some(found) = place.and_then(OnceLock::get) {
            return Ok(found.clone());
        }
        let image = self.split.image(index)?;
        let mask = self.split.mask(index)?.expect("a split with masks");
        let decoded = Arc::new(Decoded { image, mask });
        if let Some(place) = place {
            // another thread may have put the same there
            let _ = place.set(decoded.clone());
        }
        Ok(decoded)
    }
}

/// Whether a pixel of the masks has a class; most sets say so with the first one.
fn any_class(split: &PackedSplit) -> eqr_datasets::Result<bool> {
    for index in 0..split.len() {
        if split.mask(index)?.is_some_and(|mask| mask.iter().any(|&id| id != 0)) {
            return Ok(true);
        }
    }
    Ok(false)
}
