//! Scenes with masks, and random crops of them for training a segmentation head.

use std::ops::Range;

use crate::checks::wrong_shape;
use crate::draws::permutation;
use crate::error::{Error, Result, TensorRole};
use eqr_random::{Purpose, probe_rng};
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// An image, (3, H, W) float32, and its mask, (H, W) int64, or the reason why they cannot be read.
pub type Scene = std::result::Result<(Tensor, Tensor), Box<dyn std::error::Error + Send + Sync>>;

/// Images with their masks.
pub trait Scenes {
    /// Number of scenes, at least 1.
    fn count(&self) -> usize;
    /// Scene `index`: the encoder's input image, (3, H, W) float32, and its mask, (H, W) int64.
    ///
    /// # Errors
    /// Fails if the scene cannot be read.
    fn scene(&self, index: usize) -> Scene;
    /// Scenes `indices`, in this order. Override it if reading several scenes at a time is faster.
    fn scenes(&self, indices: &[usize]) -> Vec<Scene> {
        indices.iter().map(|&index| self.scene(index)).collect()
    }
}

/// Reads scenes `indices` and checks their shapes.
pub(crate) fn read(scenes: &dyn Scenes, indices: &[usize]) -> Result<Vec<(Tensor, Tensor)>> {
    indices.iter().zip(scenes.scenes(indices)).map(|(&index, scene)| checked(index, scene)).collect()
}

fn checked(index: usize, scene: Scene) -> Result<(Tensor, Tensor)> {
    let (image, mask) = scene.map_err(|reason| Error::Scene { index, reason })?;
    let name = || format!("scene {index}");
    let [3, height, width] = image.size()[..] else {
        return Err(wrong_shape(&name(), TensorRole::TrainFeatures, &image, "(3, H, W)".into()));
    };
    if mask.size() != [height, width] || mask.kind() != Kind::Int64 {
        let expected = format!("int64 [{height}, {width}], as its image has");
        return Err(wrong_shape(&name(), TensorRole::TrainTargets, &mask, expected));
    }
    Ok((image, mask))
}

/// Fails if a mask has a value outside 0..`classes` other than `void`.
pub(crate) fn check_mask(mask: &Tensor, classes: i64, void: i64) -> Result<()> {
    let wrong = mask.not_equal(void).logical_and(&mask.lt(0).logical_or(&mask.ge(classes)));
    if wrong.any().int64_value(&[]) == 0 {
        return Ok(());
    }
    let wrong = mask.masked_select(&wrong).to_device(Device::Cpu);
    let (min, max) = (wrong.min().int64_value(&[]), wrong.max().int64_value(&[]));
    Err(Error::Labels { name: "segmentation".into(), role: TensorRole::TrainTargets, min, max, classes })
}

/// How crops are drawn.
#[derive(Clone, Copy)]
pub(crate) struct CropSpec {
    /// Side in pixels.
    pub side: i64,
    /// Smallest and largest factor by which the scene is resized.
    pub scale: (f64, f64),
    /// Mask value for pixels without a class.
    pub void: i64,
}

/// The infinite sequence of training crops.
pub(crate) struct Crops<'a> {
    scenes: &'a dyn Scenes,
    spec: CropSpec,
    order: Order,
}

impl<'a> Crops<'a> {
    pub(crate) fn new(scenes: &'a dyn Scenes, spec: CropSpec, seed: u64) -> Self {
        Crops { scenes, spec, order: Order { seed, epoch: usize::MAX, rows: Vec::new() } }
    }

    /// The crops at `positions`: images (B, 3, side, side) and masks (B, side, side), or `None` if there are
    /// no positions.
    pub(crate) fn batch(&mut self, positions: Range<usize>) -> Result<Option<(Tensor, Tensor)>> {
        let count = self.scenes.count();
        let indices: Vec<usize> = positions.clone().map(|position| self.order.at(position, count)).collect();
        let crop = |(position, (image, mask)): (usize, (Tensor, Tensor))| {
            let mut draw = probe_rng(self.order.seed, position as u64, Purpose::SegmentationCrop);
            self.spec.random(&image, &mask, &mut draw)
        };
        let crops = positions.zip(read(self.scenes, &indices)?).map(crop);
        let (images, masks): (Vec<Tensor>, Vec<Tensor>) = crops.unzip();
        Ok((!images.is_empty()).then(|| (Tensor::stack(&images, 0), Tensor::stack(&masks, 0))))
    }
}

/// Random order of the scenes, a new one in each epoch.
struct Order {
    seed: u64,
    epoch: usize,
    rows: Vec<i64>,
}

impl Order {
    /// The scene at `position` in the infinite sequence of epochs over `count` scenes.
    fn at(&mut self, position: usize, count: usize) -> usize {
        let epoch = position / count;
        if epoch != self.epoch {
            self.rows = permutation(self.seed, epoch as u64, Purpose::ProbeOrder, count as i64);
            self.epoch = epoch;
        }
        self.rows[position % count] as usize
    }
}

impl CropSpec {
    /// A crop at a random position and scale, randomly flipped. Outside the scene, the image is zero and the
    /// mask is void.
    fn random(&self, image: &Tensor, mask: &Tensor, draw: &mut impl Rng) -> (Tensor, Tensor) {
        let CropSpec { side: crop, scale, void } = *self;
        let scale = draw.gen_range(scale.0..=scale.1);
        let side = |length: i64| ((length as f64 * scale).round() as i64).max(1);
        let size = [side(mask.size()[0]), side(mask.size()[1])];
        let image =
            image.unsqueeze(0).internal_upsample_bilinear2d_aa(size, false, None, None).squeeze_dim(0);
        let mask = mask.unsqueeze(0).unsqueeze(0).to_kind(Kind::Double).upsample_nearest2d(size, None, None);
        let mask = mask.to_kind(Kind::Int64).squeeze_dim(0).squeeze_dim(0);
        let padding = [0, (crop - size[1]).max(0), 0, (crop - size[0]).max(0)];
        let image = image.constant_pad_nd(padding);
        let mask = (mask - void).constant_pad_nd(padding) + void;
        let top = draw.gen_range(0..=mask.size()[0] - crop);
        let left = draw.gen_range(0..=mask.size()[1] - crop);
        let flip = draw.r#gen::<bool>();
        let cut = |t: &Tensor| {
            let rows = t.dim() as i64 - 2;
            let t = t.narrow(rows, top, crop).narrow(rows + 1, left, crop);
            if flip { t.flip([rows + 1]) } else { t }
        };
        (cut(&image), cut(&mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::test_device::test_device;

    #[test]
    fn every_epoch_visits_every_scene_in_another_order() {
        let mut order = Order { seed: 1, epoch: usize::MAX, rows: Vec::new() };
        let epochs =
            [0, 1, 0].map(|epoch| (0..6).map(|row| order.at(6 * epoch + row, 6)).collect::<Vec<_>>());
        assert!(epochs[0] == epochs[2] && epochs[0] != epochs[1]);
        for mut epoch in epochs {
            epoch.sort_unstable();
            assert_eq!(epoch, [0, 1, 2, 3, 4, 5]);
        }
    }

    /// The resized scene is smaller than the crop. Pixels of the scene keep their class and colour.
    #[test]
    fn crops_beyond_the_scene_are_zero_and_void() {
        let spec = CropSpec { side: 8, scale: (0.5, 0.5), void: 255 };
        let (image, mask) = (
            Tensor::ones([3, 8, 6], (tch::Kind::Float, test_device())),
            Tensor::full([8, 6], 2, (tch::Kind::Int64, test_device())),
        );
        let (image, mask) = spec.random(&image, &mask, &mut probe_rng(1, 2, Purpose::SegmentationCrop));
        let inside = mask.eq(2);
        assert_eq!(inside.sum(Kind::Int64).int64_value(&[]), 4 * 3);
        assert_eq!(mask.eq(255).sum(Kind::Int64).int64_value(&[]), 64 - 4 * 3);
        assert!(image.get(0).allclose(&inside.to_kind(Kind::Float), 1e-6, 0.0, false));
    }
}
