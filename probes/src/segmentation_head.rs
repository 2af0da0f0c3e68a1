//! Training and use of a segmentation head on a frozen encoder (protocol section 6), on any number of ranks:
//! random crops, cross-entropy without void, sliding windows.

use std::ops::Range;

use crate::checks::{check_above_zero, check_classes, check_config, check_positive, wrong_shape};
use crate::confusion::Confusion;
use crate::error::{Error, Result, TensorRole};
use crate::hypernet::HyperNet;
use crate::scenes::{CropSpec, Crops, Scenes, check_mask, read};
use eqr_models::Collective;
use eqr_models::collective::shares;
use serde::{Deserialize, Serialize};
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, Reduction, Tensor};

/// Token maps, or why there are none.
pub type Maps = std::result::Result<Vec<Tensor>, Box<dyn std::error::Error + Send + Sync>>;

/// A frozen encoder.
pub trait Encoder {
    /// Channels of each map.
    fn channels(&self) -> Vec<i64>;
    /// Token maps (N, D_i, h_i, w_i) of several depths of `images` (N, 3, crop, crop). Called without
    /// gradients. The encoder must not change.
    ///
    /// # Errors
    /// Why the encoder fails, such as an error in a user's module.
    fn maps(&self, images: &Tensor) -> Maps;
}

/// How the head is built, trained and used; the default is the protocol's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentConfig {
    /// Width of the head.
    pub width: i64,
    /// Steps of AdamW.
    pub steps: usize,
    /// Crops of a step.
    pub batch: usize,
    /// Side of the crops and of the windows, in pixels.
    pub crop: i64,
    /// Pixels between two windows, at most `crop`.
    pub stride: i64,
    /// AdamW's learning rate; constant.
    pub lr: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Smallest and largest factor that a training image is resized by; drawn uniformly.
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
    /// [`Error::Config`] with the key, what it is and what it may be.
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

/// Trains a head with `seed`. `void` is the mask's value that is no class. Tells `progress` the mean loss of
/// each step.
///
/// Each rank takes its share of a step's crops. Losses and gradients are sums over all ranks divided by the
/// pixels of all, so the head, which every rank returns, is the same on any number of ranks but for rounding.
///
/// # Errors
/// A configuration value out of range, fewer than two classes, an encoder without maps or with others than
/// announced, a scene that cannot be read or has wrong shapes, a mask with a class outside 0..`classes`, a
/// loss that is not finite. An error of a scene or a mask occurs on one rank only: the others wait for it,
/// and must be ended.
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
        // a batch of void has no loss
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

/// Checks that need no scene.
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

/// Positions of this rank's crops of a step in the list of all crops.
fn own_crops(step: usize, batch: usize, ranks: &dyn Collective) -> Range<usize> {
    let shares = shares(batch, ranks.size());
    let first = step * batch + shares[..ranks.rank()].iter().sum::<usize>();
    first..first + shares[ranks.rank()]
}

/// Sum of the cross-entropies of all pixels of `images` (B, 3, crop, crop) that are not void.
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

/// The loss of a rank without a crop, whose gradient is zero.
fn no_loss(parameters: &[Tensor]) -> Tensor {
    parameters.iter().map(|parameter| parameter.sum(Kind::Float) * 0.0).sum()
}

/// Sum of the ranks' numbers.
fn total(own: f64, ranks: &dyn Collective) -> f64 {
    let mut sum = Tensor::from_slice(&[own]);
    ranks.all_reduce_sum(&mut sum);
    sum.double_value(&[0])
}

/// Replaces each parameter's gradient by its sum over the ranks, all in one message.
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

/// The confusion matrix of `head` over all scenes, the same on every rank: each takes every n-th scene. Tells
/// `progress` how many of this rank's scenes are done, and how many there are.
///
/// # Errors
/// A scene that cannot be read or has wrong shapes, a mask with a class outside 0..`classes`. They occur on
/// one rank only, as in [`train`].
pub fn evaluate(
    encoder: &dyn Encoder,
    head: &HyperNet,
    scenes: &dyn Scenes,
    (classes, void): (i64, i64),
    config: &SegmentConfig,
    ranks: &dyn Collective,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Confusion> {
    let mut confusion = Confusion::new(classes as usize);
    // neighbours may be of one size: in turn, the ranks get scenes of all sizes
    let own = (ranks.rank()..scenes.count()).step_by(ranks.size());
    let count = own.len();
    for (done, index) in own.enumerate() {
        let (image, mask) = read(scenes, &[index])?.remove(0);
        confusion.add(&predict(encoder, head, &image, config)?, &mask, void)?;
        progress(done + 1, count);
    }
    confusion.sum_over(ranks);
    Ok(confusion)
}

/// Classes (H, W), int64, of `image` (3, H, W): the highest of the logits averaged over windows of side
/// `crop`, `stride` apart, with the last ones at the edges. An image smaller than a window is padded with
/// zeros. Windows are processed in batches as large as a step's.
///
/// # Errors
/// An encoder that fails, or gives other maps than announced.
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
        // every pixel is in a window
        let mean = sum.expect("at least one window") / counts;
        Ok(mean.argmax(0, false).narrow(0, 0, height).narrow(1, 0, width))
    })
}

/// Logits (N, C, crop, crop) of images of side `crop` from their maps.
fn logits(head: &HyperNet, maps: &[Tensor], crop: i64) -> Tensor {
    head.forward(maps, (crop, crop)).upsample_bilinear2d([crop, crop], false, None, None)
}

/// First pixels of the windows along a side.
fn starts(side: i64, crop: i64, stride: i64) -> Vec<i64> {
    let last = side - crop;
    let mut starts: Vec<i64> = (0..last).step_by(stride as usize).collect();
    starts.push(last);
    starts
}

/// The maps of `images`.
fn token_maps(encoder: &dyn Encoder, images: &Tensor) -> Result<Vec<Tensor>> {
    let maps = tch::no_grad(|| encoder.maps(images)).map_err(|reason| Error::Encoder { reason })?;
    check_maps(encoder, &maps, images)?;
    Ok(maps)
}

/// Fails unless the maps of `images` are as the encoder announced.
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
