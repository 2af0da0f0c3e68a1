//! Training and inference of a segmentation head on a frozen encoder (protocol section 6), on any number of
//! ranks. Training uses random crops and cross-entropy without void pixels, and inference uses sliding
//! windows.

use std::ops::Range;

use crate::checks::{check_above_zero, check_classes, check_config, check_positive, wrong_shape};
use crate::confusion::Confusion;
use crate::error::{Error, Result, TensorRole};
use crate::hypernet::HyperNet;
use crate::scene_pixels::ScenePixels;
use crate::scenes::{CropSpec, Crops, Scenes, check_mask, read};
use eqr_models::Collective;
use eqr_models::collective::shares;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, Reduction, Tensor};

/// Token maps, or the reason why they cannot be computed.
pub type Maps = std::result::Result<Vec<Tensor>, Box<dyn std::error::Error + Send + Sync>>;

/// A frozen encoder.
pub trait Encoder {
    /// Number of channels of each map.
    fn channels(&self) -> Vec<i64>;
    /// Token maps (N, D_i, h_i, w_i) of `images` (N, 3, crop, crop) from several depths. It is called without
    /// gradients and must not change the encoder.
    ///
    /// # Errors
    /// Returns the reason if the encoder fails, such as an error in a user's module.
    fn maps(&self, images: &Tensor) -> Maps;
}

/// Configuration of the head, its training and inference. The default is the protocol's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentConfig {
    /// Number of channels in the head.
    pub width: i64,
    /// Number of AdamW steps.
    pub steps: usize,
    /// Crops per step.
    pub batch: usize,
    /// Side of the crops and of the windows, in pixels.
    pub crop: i64,
    /// Distance between neighbouring windows in pixels, at most `crop`.
    pub stride: i64,
    /// AdamW's constant learning rate.
    pub lr: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Smallest and largest factor by which a training image is resized. The factor is drawn uniformly.
    pub scale: (f64, f64),
}

impl Default for SegmentConfig {
    fn default() -> Self {
        let (lr, weight_decay, scale) = (1e-3, 1e-4, (0.5, 2.0));
        SegmentConfig {
            width: 128,
            steps: 40_000,
            batch: 16,
            crop: 512,
            stride: 341,
            lr,
            weight_decay,
            scale,
        }
    }
}

impl SegmentConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// Returns [`Error::Config`] with the key, the value found and the valid range.
    pub fn validate(&self) -> Result<()> {
        check_positive("width", self.width)?;
        check_positive("steps", self.steps)?;
        check_positive("batch", self.batch)?;
        check_positive("crop", self.crop)?;
        check_config((1..=self.crop).contains(&self.stride), "stride", self.stride, "1 to `crop`")?;
        check_above_zero("lr", self.lr)?;
        let decay = self.weight_decay;
        check_config(
            decay >= 0.0 && decay.is_finite(),
            "weight_decay",
            decay,
            "a finite number of at least 0",
        )?;
        let (low, high) = self.scale;
        let good = 0.0 < low && low <= high && high.is_finite();
        check_config(good, "scale", format!("{low}, {high}"), "0 < smallest <= largest")
    }
}

/// Trains a head with `seed`. `void` is the mask value of pixels without a class. `progress` is called with
/// the index and the mean loss of each step.
///
/// Each rank processes its share of the crops of a step. Losses and gradients are summed over all ranks and
/// divided by the number of pixels on all ranks. Every rank returns the head, which is the same on any number
/// of ranks except for rounding.
///
/// # Errors
/// Fails if a configuration value is out of range, there are fewer than two classes, the encoder announces no
/// maps or returns maps that differ from those announced, a scene cannot be read or has wrong shapes, a mask
/// has a class outside 0..`classes`, or the loss is not finite. An error in a scene or a mask occurs on one
/// rank only. The other ranks wait for that rank and must be terminated.
pub fn train(
    encoder: &dyn Encoder,
    scenes: &dyn Scenes,
    (classes, void): (i64, i64),
    seed: u64,
    config: &SegmentConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, f64),
) -> Result<HyperNet> {
    config.validate()?;
    check(encoder, scenes, classes)?;
    let device = read(scenes, &[0])?[0].0.device();
    let head = HyperNet::new(&encoder.channels(), config.width, classes, seed, device);
    let parameters = head.store().trainable_variables();
    let mut adam = nn::adamw(0.9, 0.999, config.weight_decay)
        .build(head.store(), config.lr)
        .expect("an optimiser of leaves");
    let spec = CropSpec { side: config.crop, scale: config.scale, void };
    let mut crops_of_training = Crops::new(scenes, spec, seed);
    for step in 0..config.steps {
        let crops = crops_of_training.batch(own_crops(step, config.batch, ranks))?;
        let pixels = crops
            .as_ref()
            .map_or(0.0, |(_, masks)| masks.not_equal(void).sum(Kind::Double).double_value(&[]));
        // a batch with only void pixels has no loss
        let pixels = total(pixels, ranks).max(1.0);
        let loss = match &crops {
            Some((images, masks)) => {
                check_mask(masks, classes, void)?;
                cross_entropy(encoder, &head, images, masks, void)? / pixels
            }
            None => no_loss(&parameters),
        };
        adam.zero_grad();
        loss.backward();
        sum_gradients(&parameters, ranks);
        adam.step();
        let loss = total(loss.double_value(&[]), ranks);
        if !loss.is_finite() {
            return Err(Error::Diverged { name: "segmentation".into(), seed });
        }
        progress(step, loss);
    }
    Ok(head)
}

/// Checks that do not need to read a scene.
fn check(encoder: &dyn Encoder, scenes: &dyn Scenes, classes: i64) -> Result<()> {
    check_classes(classes)?;
    if encoder.channels().is_empty() {
        return Err(Error::Empty { what: "token map" });
    }
    if scenes.count() == 0 {
        return Err(Error::Empty { what: "scene" });
    }
    Ok(())
}

/// Positions of this rank's crops for a step in the sequence of all crops.
fn own_crops(step: usize, batch: usize, ranks: &dyn Collective) -> Range<usize> {
    let shares = shares(batch, ranks.size());
    let first = step * batch + shares[..ranks.rank()].iter().sum::<usize>();
    first..first + shares[ranks.rank()]
}

/// Cross-entropy summed over all non-void pixels of `images` (B, 3, crop, crop).
fn cross_entropy(
    encoder: &dyn Encoder,
    head: &HyperNet,
    images: &Tensor,
    masks: &Tensor,
    void: i64,
) -> Result<Tensor> {
    let maps = token_maps(encoder, images)?;
    let logits = logits(head, &maps, images.size()[3]);
    Ok(logits.cross_entropy_loss::<Tensor>(masks, None, Reduction::Sum, void, 0.0))
}

/// The loss of a rank without crops. Its gradient is zero.
fn no_loss(parameters: &[Tensor]) -> Tensor {
    parameters.iter().map(|parameter| parameter.sum(Kind::Float) * 0.0).sum()
}

/// Sum of `own` over the ranks.
fn total(own: f64, ranks: &dyn Collective) -> f64 {
    let mut sum = Tensor::from_slice(&[own]);
    ranks.all_reduce_sum(&mut sum);
    sum.double_value(&[0])
}

/// Replaces each parameter's gradient by its sum over the ranks, with a single all-reduce.
fn sum_gradients(parameters: &[Tensor], ranks: &dyn Collective) {
    if ranks.size() == 1 {
        return;
    }
    tch::no_grad(|| {
        let gradients: Vec<Tensor> = parameters.iter().map(Tensor::grad).collect();
        let flat: Vec<Tensor> = gradients.iter().map(|gradient| gradient.reshape([-1])).collect();
        let mut sum = Tensor::cat(&flat, 0);
        ranks.all_reduce_sum(&mut sum);
        let mut first = 0;
        for mut gradient in gradients {
            let length = gradient.numel() as i64;
            gradient.copy_(&sum.narrow(0, first, length).view_as(&gradient));
            first += length;
        }
    });
}

/// What a head predicts for all scenes, against their masks.
#[derive(Debug)]
pub struct Evaluated {
    /// Confusion matrix of all scenes together.
    pub confusion: Confusion,
    /// Pixels of each scene, in the order of the scenes.
    pub scenes: ScenePixels,
}

/// Holds the predictions of `head` for all scenes against their masks, with the same result on every rank.
/// Each of n ranks processes every n-th scene. `progress` is called with the number of finished scenes on
/// this rank and their total number.
///
/// # Errors
/// Fails if a scene cannot be read or has wrong shapes, or a mask has a class outside 0..`classes`. These
/// errors occur on one rank only, as in [`train`].
pub fn evaluate(
    encoder: &dyn Encoder,
    head: &HyperNet,
    scenes: &dyn Scenes,
    (classes, void): (i64, i64),
    config: &SegmentConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evaluated> {
    let mut confusion = Confusion::new(classes as usize);
    let mut pixels = ScenePixels::new(scenes.count(), classes);
    // neighbouring scenes may have the same size, so the ranks take scenes in turn
    let own = (ranks.rank()..scenes.count()).step_by(ranks.size());
    let count = own.len();
    for (done, index) in own.enumerate() {
        let (image, mask) = read(scenes, &[index])?.remove(0);
        let mut of_scene = Confusion::new(classes as usize);
        of_scene.add(&predict(encoder, head, &image, config)?, &mask, void)?;
        confusion.merge(&of_scene);
        pixels.set(index, &of_scene);
        progress(done + 1, count);
    }
    confusion.sum_over(ranks);
    pixels.sum_over(ranks);
    Ok(Evaluated { confusion, scenes: pixels })
}

/// Predicted classes (H, W), int64, for `image` (3, H, W). Logits are averaged over windows of side `crop`,
/// placed `stride` pixels apart, with the last windows at the image border. The class with the highest mean
/// logit is chosen. An image smaller than a window is padded with zeros. Windows are processed in batches of
/// the training batch size.
///
/// # Errors
/// Fails if the encoder fails, or returns maps that differ from those announced.
pub fn predict(
    encoder: &dyn Encoder,
    head: &HyperNet,
    image: &Tensor,
    config: &SegmentConfig,
) -> Result<Tensor> {
    tch::no_grad(|| {
        let [_, height, width] = image.size()[..] else { panic!("an image is (3, H, W)") };
        let crop = config.crop;
        let padded = image.constant_pad_nd([0, (crop - width).max(0), 0, (crop - height).max(0)]);
        let (rows, columns) = (height.max(crop), width.max(crop));
        let lefts = starts(columns, crop, config.stride);
        let places = starts(rows, crop, config.stride)
            .into_iter()
            .flat_map(|top| lefts.iter().map(move |&left| (top, left)));
        let places: Vec<(i64, i64)> = places.collect();
        let cut = |t: &Tensor, (top, left): (i64, i64)| t.narrow(-2, top, crop).narrow(-1, left, crop);
        let mut sum: Option<Tensor> = None;
        let counts = Tensor::zeros([rows, columns], (Kind::Float, image.device()));
        for group in places.chunks(config.batch) {
            let windows: Vec<Tensor> = group.iter().map(|&place| cut(&padded, place)).collect();
            let logits = logits(head, &token_maps(encoder, &Tensor::stack(&windows, 0))?, crop);
            let classes = logits.size()[1];
            let sum = sum.get_or_insert_with(|| {
                Tensor::zeros([classes, rows, columns], (Kind::Float, image.device()))
            });
            for (window, &place) in (0..).zip(group) {
                let _ = cut(sum, place).g_add_(&logits.get(window));
                let _ = cut(&counts, place).g_add_scalar_(1.0);
            }
        }
        // every pixel is in at least one window
        let mean = sum.expect("at least one window") / counts;
        Ok(mean.argmax(0, false).narrow(0, 0, height).narrow(1, 0, width))
    })
}

/// Logits (N, C, crop, crop) for images with side `crop`, from their maps.
fn logits(head: &HyperNet, maps: &[Tensor], crop: i64) -> Tensor {
    head.forward(maps, (crop, crop)).upsample_bilinear2d([crop, crop], false, None, None)
}

/// The first pixel of each window along one side.
fn starts(side: i64, crop: i64, stride: i64) -> Vec<i64> {
    let last = side - crop;
    let mut starts: Vec<i64> = (0..last).step_by(stride as usize).collect();
    starts.push(last);
    starts
}

/// Computes and checks the token maps of `images`.
fn token_maps(encoder: &dyn Encoder, images: &Tensor) -> Result<Vec<Tensor>> {
    let maps = tch::no_grad(|| encoder.maps(images)).map_err(|reason| Error::Encoder { reason })?;
    check_maps(encoder, &maps, images)?;
    Ok(maps)
}

/// Fails unless the maps of `images` match those that the encoder announced.
fn check_maps(encoder: &dyn Encoder, maps: &[Tensor], images: &Tensor) -> Result<()> {
    let channels = encoder.channels();
    if maps.len() != channels.len() {
        let (expected, found) = (channels.len(), maps.len());
        return Err(Error::Maps { expected, found });
    }
    for (map, width) in maps.iter().zip(channels) {
        let batch = images.size()[0];
        if !matches!(map.size()[..], [n, d, h, w] if [n, d] == [batch, width] && h > 0 && w > 0) {
            return Err(wrong_shape(
                "encoder",
                TensorRole::TokenMaps,
                map,
                format!("({batch}, {width}, h, w)"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqr_models::thread_team::{Sums, run_on_threads};

    #[test]
    fn windows_reach_both_edges() {
        assert_eq!(starts(32, 32, 21), [0]);
        assert_eq!(starts(33, 32, 21), [0, 1]);
        assert_eq!(starts(75, 32, 21), [0, 21, 42, 43]);
        assert_eq!(starts(74, 32, 21), [0, 21, 42]);
    }

    #[test]
    fn ranks_divide_the_crops_of_a_step() {
        let ranges = run_on_threads(3, Sums::AtOnce, |ranks| own_crops(2, 5, ranks));
        assert_eq!(ranges, [10..12, 12..14, 14..15]);
    }
}
