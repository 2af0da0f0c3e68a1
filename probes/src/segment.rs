//! Training and use of a segmentation head on a frozen encoder (protocol section 6): random crops, cross-entropy without void,
//! sliding windows; on any number of ranks.

use std::ops::Range;

use crate::error::{Error, Part, Result};
use crate::hypernet::HyperNet;
use crate::random::{self, Purpose};
use crate::segmentation::Confusion;
use crate::standardise::shape;
use eqr_models::Collective;
use eqr_models::collective::shares;
use rand::Rng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Reduction, Tensor};

/// Token maps; or why there are none.
pub type Maps = std::result::Result<Vec<Tensor>, Box<dyn std::error::Error + Send + Sync>>;

/// A frozen encoder.
pub trait Encoder {
    /// Channels of each map.
    fn channels(&self) -> Vec<i64>;
    /// Token maps (N, D_i, h_i, w_i) of several depths of `images` (N, 3, crop, crop). Called without gradients; must change nothing.
    ///
    /// # Errors
    /// What keeps an encoder from it: a module of others may fail.
    fn maps(&self, images: &Tensor) -> Maps;
}

/// An image, (3, H, W) float32, with its mask, (H, W) int64; or why there is none.
pub type Scene = std::result::Result<(Tensor, Tensor), Box<dyn std::error::Error + Send + Sync>>;

/// Images with their masks.
pub trait Scenes {
    /// Number of scenes, at least 1.
    fn count(&self) -> usize;
    /// Scene `index`: the image as the encoder takes it, (3, H, W) float32, and its mask, (H, W) int64.
    ///
    /// # Errors
    /// A scene that cannot be read.
    fn scene(&self, index: usize) -> Scene;
    /// Scenes `indices`, in their order: for those who read several at a time faster than one after the other.
    fn scenes(&self, indices: &[usize]) -> Vec<Scene> {
        indices.iter().map(|&index| self.scene(index)).collect()
    }
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
    /// Smallest and largest factor that a training image is resized by, drawn evenly.
    pub scale: (f64, f64),
}

impl Default for SegmentConfig {
    fn default() -> Self {
        let (lr, weight_decay, scale) = (1e-3, 1e-4, (0.5, 2.0));
        SegmentConfig { width: 128, steps: 40_000, batch: 16, crop: 512, stride: 341, lr, weight_decay, scale }
    }
}

impl SegmentConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, what it is and what it may be.
    pub fn validate(&self) -> Result<()> {
        let need = |good: bool, key: &'static str, found: String, expected: &'static str| {
            if good { Ok(()) } else { Err(Error::Config { key, found, expected }) }
        };
        need(self.width > 0, "width", self.width.to_string(), "at least 1")?;
        need(self.steps > 0, "steps", self.steps.to_string(), "at least 1")?;
        need(self.batch > 0, "batch", self.batch.to_string(), "at least 1")?;
        need(self.crop > 0, "crop", self.crop.to_string(), "at least 1")?;
        need((1..=self.crop).contains(&self.stride), "stride", self.stride.to_string(), "1 to `crop`")?;
        need(self.lr > 0.0 && self.lr.is_finite(), "lr", self.lr.to_string(), "a finite number above 0")?;
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        need(decay, "weight_decay", self.weight_decay.to_string(), "a finite number of at least 0")?;
        let (low, high) = self.scale;
        need(0.0 < low && low <= high && high.is_finite(), "scale", format!("{low}, {high}"), "0 < smallest <= largest")
    }
}

/// Trains a head with `seed`. `void` is the mask's value that is no class. Tells `progress` the mean loss of each step.
///
/// Each rank takes its share of a step's crops; losses and gradients are sums over all ranks divided by the pixels of all, so that the head,
/// which every rank returns, does not depend on the number of ranks but for rounding.
///
/// # Errors
/// A configuration value out of range, fewer than two classes, an encoder without maps or with others than it says, a scene that cannot be
/// read or does not have its shapes, a mask with a class outside 0..`classes`, a loss that is not finite. An error of scene or mask is
/// that of one rank: the others wait for it, and must be ended.
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
    let mut adam =
        nn::adamw(0.9, 0.999, config.weight_decay).build(head.store(), config.lr).expect("an optimiser of leaves");
    let mut order = Order { seed, epoch: usize::MAX, rows: Vec::new() };
    for step in 0..config.steps {
        let crops = batch(scenes, &mut order, own_crops(step, config.batch, ranks), void, config)?;
        let known = crops.as_ref().map_or(0.0, |(_, masks)| masks.not_equal(void).sum(Kind::Double).double_value(&[]));
        // a batch of void alone has no loss
        let pixels = total(known, ranks).max(1.0);
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

/// What is wrong whatever the scenes hold.
fn check(encoder: &dyn Encoder, scenes: &dyn Scenes, classes: i64) -> Result<()> {
    if classes < 2 {
        return Err(Error::Config { key: "classes", found: classes.to_string(), expected: "at least 2" });
    }
    if encoder.channels().is_empty() {
        return Err(Error::Empty { what: "token map" });
    }
    if scenes.count() == 0 {
        return Err(Error::Empty { what: "scene" });
    }
    Ok(())
}

/// Positions of this rank's crops of a step in the list of all crops: drawn by position, they are the same on any number of ranks.
fn own_crops(step: usize, batch: usize, ranks: &dyn Collective) -> Range<usize> {
    let shares = shares(batch, ranks.size());
    let first = step * batch + shares[..ranks.rank()].iter().sum::<usize>();
    first..first + shares[ranks.rank()]
}

/// Sum of the cross-entropies of all pixels of `images` (B, 3, crop, crop) that are not void.
fn cross_entropy(encoder: &dyn Encoder, head: &HyperNet, images: &Tensor, masks: &Tensor, void: i64) -> Result<Tensor> {
    let maps = maps_of(encoder, images)?;
    let logits = logits(head, &maps, images.size()[3]);
    Ok(logits.cross_entropy_loss::<Tensor>(masks, None, Reduction::Sum, void, 0.0))
}

/// A loss of a rank without a crop, whose gradient is zero.
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

/// The confusion matrix of `head` over all scenes, the same on every rank: each takes every n-th scene. Tells `progress` how many of this
/// rank's scenes are done, and of how many.
///
/// # Errors
/// A scene that cannot be read or does not have its shapes, a mask with a class outside 0..`classes`: errors of one rank, as in [`train`].
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
    // neighbours may be of one size: turn by turn, the ranks' shares take equally long
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

/// Classes (H, W), int64, of `image` (3, H, W): the highest of the logits averaged over windows of side `crop`, `stride` apart, the last
/// ones at the edges. An image that is smaller than a window is padded with zeros. As many windows as a step has crops are worked on at a
/// time.
///
/// # Errors
/// An encoder that fails, or gives other maps than it says.
pub fn predict(encoder: &dyn Encoder, head: &HyperNet, image: &Tensor, config: &SegmentConfig) -> Result<Tensor> {
    tch::no_grad(|| {
        let [_, height, width] = image.size()[..] else { panic!("an image is (3, H, W)") };
        let crop = config.crop;
        let padded = image.constant_pad_nd([0, (crop - width).max(0), 0, (crop - height).max(0)]);
        let (rows, columns) = (height.max(crop), width.max(crop));
        let lefts = starts(columns, crop, config.stride);
        let places =
            starts(rows, crop, config.stride).into_iter().flat_map(|top| lefts.iter().map(move |&left| (top, left)));
        let places: Vec<(i64, i64)> = places.collect();
        let cut = |t: &Tensor, (top, left): (i64, i64)| t.narrow(-2, top, crop).narrow(-1, left, crop);
        let mut sum: Option<Tensor> = None;
        let counts = Tensor::zeros([rows, columns], (Kind::Float, image.device()));
        for group in places.chunks(config.batch) {
            let windows: Vec<Tensor> = group.iter().map(|&place| cut(&padded, place)).collect();
            let logits = logits(head, &maps_of(encoder, &Tensor::stack(&windows, 0))?, crop);
            let classes = logits.size()[1];
            let sum = sum.get_or_insert_with(|| Tensor::zeros([classes, rows, columns], (Kind::Float, image.device())));
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

/// Order of the scenes, epoch after epoch.
struct Order {
    seed: u64,
    epoch: usize,
    rows: Vec<i64>,
}

impl Order {
    /// Scene at `position` of the endless list of epochs over `count` scenes.
    fn at(&mut self, position: usize, count: usize) -> usize {
        let epoch = position / count;
        if epoch != self.epoch {
            self.rows = random::order(self.seed, Purpose::Order, epoch as u64, count as i64);
            self.epoch = epoch;
        }
        self.rows[position % count] as usize
    }
}

/// The crops at `positions` of the list of all: images (B, 3, crop, crop) and masks (B, crop, crop); nothing where there is no position.
fn batch(
    scenes: &dyn Scenes,
    order: &mut Order,
    positions: Range<usize>,
    void: i64,
    config: &SegmentConfig,
) -> Result<Option<(Tensor, Tensor)>> {
    let indices: Vec<usize> = positions.clone().map(|position| order.at(position, scenes.count())).collect();
    let crop = |(position, (image, mask)): (usize, (Tensor, Tensor))| {
        let mut draw = random::generator(order.seed, Purpose::Crop, position as u64);
        random_crop(&image, &mask, void, config, &mut draw)
    };
    let crops = positions.zip(read(scenes, &indices)?).map(crop);
    let (images, masks): (Vec<Tensor>, Vec<Tensor>) = crops.unzip();
    Ok((!images.is_empty()).then(|| (Tensor::stack(&images, 0), Tensor::stack(&masks, 0))))
}

/// A crop at a random place of the scene at a random scale, flipped or not; what lies outside is zero and void.
fn random_crop(image: &Tensor, mask: &Tensor, void: i64, config: &SegmentConfig, draw: &mut Pcg64) -> (Tensor, Tensor) {
    let crop = config.crop;
    let scale = draw.gen_range(config.scale.0..=config.scale.1);
    let side = |length: i64| ((length as f64 * scale).round() as i64).max(1);
    let size = [side(mask.size()[0]), side(mask.size()[1])];
    let image = image.unsqueeze(0).internal_upsample_bilinear2d_aa(size, false, None, None).squeeze_dim(0);
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

/// Scenes `indices`, their shapes checked.
fn read(scenes: &dyn Scenes, indices: &[usize]) -> Result<Vec<(Tensor, Tensor)>> {
    indices.iter().zip(scenes.scenes(indices)).map(|(&index, scene)| checked(index, scene)).collect()
}

fn checked(index: usize, scene: Scene) -> Result<(Tensor, Tensor)> {
    let (image, mask) = scene.map_err(|reason| Error::Scene { index, reason })?;
    let name = || format!("scene {index}");
    let [3, height, width] = image.size()[..] else {
        return Err(shape(&name(), Part::TrainFeatures, &image, "(3, H, W)".into()));
    };
    if mask.size() != [height, width] || mask.kind() != Kind::Int64 {
        let expected = format!("int64 [{height}, {width}], as its image has");
        return Err(shape(&name(), Part::TrainTargets, &mask, expected));
    }
    Ok((image, mask))
}

/// The maps of `images`.
fn maps_of(encoder: &dyn Encoder, images: &Tensor) -> Result<Vec<Tensor>> {
    let maps = tch::no_grad(|| encoder.maps(images)).map_err(|reason| Error::Encoder { reason })?;
    check_maps(encoder, &maps, images)?;
    Ok(maps)
}

/// Refuses maps of `images` that are not what the encoder says they are.
fn check_maps(encoder: &dyn Encoder, maps: &[Tensor], images: &Tensor) -> Result<()> {
    let channels = encoder.channels();
    if maps.len() != channels.len() {
        let (expected, found) = (channels.len(), maps.len());
        return Err(Error::Maps { expected, found });
    }
    for (map, width) in maps.iter().zip(channels) {
        let batch = images.size()[0];
        if !matches!(map.size()[..], [n, d, h, w] if [n, d] == [batch, width] && h > 0 && w > 0) {
            return Err(shape("encoder", Part::TokenMaps, map, format!("({batch}, {width}, h, w)")));
        }
    }
    Ok(())
}

fn check_mask(mask: &Tensor, classes: i64, void: i64) -> Result<()> {
    let wrong = mask.not_equal(void).logical_and(&mask.lt(0).logical_or(&mask.ge(classes)));
    if wrong.any().int64_value(&[]) == 0 {
        return Ok(());
    }
    let wrong = mask.masked_select(&wrong).to_device(Device::Cpu);
    let (min, max) = (wrong.min().int64_value(&[]), wrong.max().int64_value(&[]));
    Err(Error::Labels { name: "segmentation".into(), part: Part::TrainTargets, min, max, classes })
}
