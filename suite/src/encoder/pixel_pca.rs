//! The first principal components of the pixels, as an encoder: a floor without a network.

use anyhow::{Context, Result};
use eqr_datasets::draw::{Purpose, rng};
use eqr_probes::PrincipalComponents;
use rand::seq::SliceRandom;
use tch::{Kind, Tensor};

use crate::data::pairs::PairSource;
use crate::encoder::representation::{FeatureEncoder, Representation};

/// Side to which larger images are reduced by averaging over areas.
const SIDE: i64 = 32;

/// Maximum number of images whose pixels are analysed.
const IMAGES: usize = 5000;

/// Number of images read at a time.
const BATCH: usize = 256;

/// An encoder whose y is the scores of an image on the first principal components of the training images. It
/// has no token map, and its y has no halves.
pub struct PixelPca {
    components: PrincipalComponents,
}

impl PixelPca {
    /// The first `components` principal components of normalised images of `source`, at most 5,000 of them,
    /// which `seed` draws.
    ///
    /// # Errors
    /// Images that cannot be read; more components than the images allow.
    pub fn fit(source: &PairSource, components: u16, seed: u64) -> Result<PixelPca> {
        let mut images = source.indices();
        images.shuffle(&mut rng(seed, 0, 0, Purpose::Subset));
        images.truncate(IMAGES);
        let batches = images.chunks(BATCH).map(|batch| Ok(pixels(&source.images(batch)?)));
        let pixels = Tensor::cat(&batches.collect::<Result<Vec<_>>>()?, 0);
        let components = PrincipalComponents::fit(&pixels, usize::from(components))
            .context("the pixels of the training images\nhint: ask for fewer components")?;
        Ok(PixelPca { components })
    }
}

impl FeatureEncoder for PixelPca {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        Ok(Representation { y: self.components.scores(&pixels(images)).to_kind(Kind::Float), grid: None })
    }
}

/// The numbers of images (B, 3, S, S) in a row each, after larger images are reduced.
fn pixels(images: &Tensor) -> Tensor {
    let small = match images.size()[2] > SIDE {
        true => images.adaptive_avg_pool2d([SIDE, SIDE]),
        false => images.shallow_clone(),
    };
    small.flatten(1, -1)
}

/// Numbers that an image of `side` pixels is reduced to.
pub fn pixel_count(side: i64) -> i64 {
    3 * side.min(SIDE).pow(2)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn large_images_are_averaged_over_areas() {
        let ramp =
            Tensor::arange(64, (Kind::Float, Device::Cpu)).view([1, 1, 1, 64]).expand([2, 3, 64, 64], false);
        let found = pixels(&ramp);
        assert_eq!(found.size(), [2, pixel_count(64)]);
        let row = Vec::<f32>::try_from(found.get(1).narrow(0, 0, 32)).unwrap();
        assert_eq!(row, (0..32).map(|x| 2.0 * x as f32 + 0.5).collect::<Vec<_>>());
        let small = Tensor::ones([1, 3, 20, 20], (Kind::Float, Device::Cpu));
        assert_eq!(pixels(&small).size(), [1, pixel_count(20)]);
    }
}
