//! Pairs of views with what leads from one to the other: two renders of an object, or a photograph and its transformation.

use std::sync::Arc;

use anyhow::Result;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::targets::{color_difference, relative_quaternions};
use eqr_datasets::transforms::{Draws, FirstView, Transform, base_view};
use eqr_datasets::{Loader, Scene, view_pairs};
use eqr_models::methods::PairMode;
use rand::seq::SliceRandom;
use tch::{Device, Tensor};

use crate::data::open::OpenedPack;
use eqr_models::Normalisation;
use crate::suite_file::suite::Transforms;

/// Bytes of images up to which a split is held on the device.
const RESIDENT_BYTES: u64 = 4 << 30;

/// A split, ready to give pairs.
pub struct PairSource {
    images: Images,
    device: Device,
    labels: Arc<[i64]>,
    scene: Option<Arc<Scene>>,
    normalisation: Normalisation,
    transforms: Transforms,
    units: Arc<[usize]>,
    mode: PairMode,
}

/// Where the images of a split are.
enum Images {
    /// On the device: (N, 3, H, W), uint8.
    Resident(Tensor),
    /// In the pack.
    Streamed(Arc<Loader>),
}

/// A batch of pairs.
pub struct Pairs {
    /// (n, 3, H, W), normalised.
    pub view1: Tensor,
    /// (n, 3, H, W), normalised.
    pub view2: Tensor,
    /// (n), class index.
    pub labels: Tensor,
    /// (n, parameters), the tasks' vectors side by side.
    pub parameters: Tensor,
}

impl PairSource {
    /// The split `name` of `opened`: on `device` where it is small and of the right size, else read from the pack batch by batch.
    ///
    /// # Errors
    /// A pack that cannot be read.
    pub fn new(opened: &OpenedPack, name: &str, transforms: &Transforms, device: Device) -> Result<Self> {
        let (pack, side) = (&opened.pack, opened.side);
        let split = pack.expect_split(name)?;
        let fits = split.side() == Some(side) && (split.len() * side * side * 3) as u64 <= RESIDENT_BYTES;
        let images = if fits {
            let loaded = split.load()?.images;
            let bytes = loaded.as_slice().expect("images lie in standard order");
            let images = Tensor::from_slice(bytes).view([split.len() as i64, side as i64, side as i64, 3]);
            Images::Resident(images.permute([0, 3, 1, 2]).contiguous().to_device(device))
        } else {
            Images::Streamed(Arc::new(Loader::new(split.clone(), side)))
        };
        let views = split.scene.as_ref().map_or(1, |scene| scene.views);
        Ok(PairSource {
            units: (0..split.len() / views).collect(),
            mode: PairMode::default(),
            images,
            device,
            labels: split.labels.iter().map(|&label| i64::from(label)).collect(),
            scene: split.scene.clone().map(Arc::new),
            normalisation: Normalisation { mean: pack.mean, std: pack.std },
            transforms: transforms.clone(),
        })
    }

    /// The same source for another thread: tensors may be sent to one, but not shared with it.
    pub fn share(&self) -> Self {
        let images = match &self.images {
            Images::Resident(images) => Images::Resident(images.shallow_clone()),
            Images::Streamed(loader) => Images::Streamed(loader.clone()),
        };
        let (labels, scene, transforms) = (self.labels.clone(), self.scene.clone(), self.transforms.clone());
        let (device, normalisation, units, mode) = (self.device, self.normalisation, self.units.clone(), self.mode);
        PairSource { images, device, labels, scene, normalisation, transforms, units, mode }
    }

    /// The same source with these of its units alone.
    pub fn restricted(&self, units: &[usize]) -> Self {
        PairSource { units: units.into(), ..self.share() }
    }

    /// The same source with pairs made as `mode` says; only photographs can be paired by a single transform.
    pub fn paired(&self, mode: PairMode) -> Self {
        PairSource { mode, ..self.share() }
    }

    /// Whether making a batch costs more than the device's work on it hides: images are read and decoded, or the CPU feeds a GPU.
    pub fn wants_prefetch(&self) -> bool {
        matches!(self.images, Images::Streamed(_)) || self.device != Device::Cpu
    }

    /// The scene of renders.
    pub fn scene(&self) -> Option<&Scene> {
        self.scene.as_deref()
    }

    /// Objects of renders, images of photographs: those that pairs are made of, ascending.
    pub fn units(&self) -> &[usize] {
        &self.units
    }

    /// Views of a unit: those of an object, or 1.
    pub fn views(&self) -> usize {
        self.scene.as_ref().map_or(1, |scene| scene.views)
    }

    /// Class of every image.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Number of images, those of other units included.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images of the units, view by view.
    pub fn indices(&self) -> Vec<usize> {
        let views = self.views();
        self.units.iter().flat_map(|unit| unit * views..(unit + 1) * views).collect()
    }

    /// The units in the order of an epoch.
    pub fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut order = self.units.to_vec();
        order.shuffle(&mut rng(seed, epoch, 0, Purpose::Shuffle));
        order
    }

    /// One pair of each unit, drawn by (seed, epoch, unit).
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn pairs(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<Pairs> {
        match &self.scene {
            Some(scene) => self.render_pairs(scene, &view_pairs(scene.views, seed, epoch, units)),
            None => self.photo_pairs(seed, epoch, units),
        }
    }

    /// Images `indices` without augmentation, normalised: (n, 3, H, W).
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn images(&self, indices: &[usize]) -> Result<Tensor> {
        let images = match &self.images {
            Images::Resident(images) => self.select(images, indices),
            Images::Streamed(loader) => loader.squares(indices)?.to_device(self.device),
        };
        Ok(self.normalise(&unit(&images)))
    }

    /// View 1 of photographs `units`, in [0, 1]: (n, 3, H, W), with surroundings for all active transforms where the border is a
    /// window, so that it is the same whichever of them makes view 2.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn first_views(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<FirstView> {
        let Transforms { active, border, ranges } = &self.transforms;
        let reach = border.reach(active, ranges);
        Ok(match &self.images {
            Images::Resident(images) => base_view(&self.select(images, units), &keys(units), seed, epoch, reach),
            Images::Streamed(loader) => {
                let field = loader.base_views(units, seed, epoch, reach)?.to_device(self.device);
                FirstView::amid(&unit(&field), loader.side() as i64)
            }
        })
    }

    /// View 2 made of `view1` by `active` alone, normalised, and the parameter vectors of `active` side by side.
    pub fn second_views(
        &self,
        view1: &FirstView,
        seed: u64,
        epoch: u64,
        units: &[usize],
        active: &[Transform],
    ) -> (Tensor, Tensor) {
        let draws = Draws::sample(&keys(units), seed, epoch, active, &self.transforms.ranges);
        self.transformed(view1, &draws, active)
    }

    /// View 2 made of `view1` by `draws`, normalised, and the parameter vectors of `active` side by side.
    fn transformed(&self, view1: &FirstView, draws: &Draws, active: &[Transform]) -> (Tensor, Tensor) {
        let Transforms { border, ranges, .. } = &self.transforms;
        let view2 = view1.transformed(draws, *border);
        let columns: Vec<Tensor> = active
            .iter()
            .map(|&t| Tensor::from_slice(&draws.target(t, ranges)).view([-1, t.dim() as i64]).to_device(view2.device()))
            .collect();
        (self.normalise(&view2), Tensor::cat(&columns, 1))
    }

    /// The same source for an encoder whose images are normalised otherwise than by the set's own statistics.
    pub fn normalised_by(&self, normalisation: Normalisation) -> Self {
        PairSource { normalisation, ..self.share() }
    }

    /// What images are normalised by: the statistics of the set's training images, if not said otherwise.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// Images in [0, 1] to mean 0 and deviation 1 a channel.
    pub fn normalise(&self, images: &Tensor) -> Tensor {
        self.normalisation.apply(images)
    }

    /// The inverse of [`PairSource::normalise`].
    pub fn denormalise(&self, images: &Tensor) -> Tensor {
        self.normalisation.undo(images)
    }

    fn select(&self, images: &Tensor, indices: &[usize]) -> Tensor {
        let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        images.index_select(0, &Tensor::from_slice(&indices).to_device(self.device))
    }

    fn label_tensor(&self, indices: impl Iterator<Item = usize>) -> Tensor {
        let labels: Vec<i64> = indices.map(|i| self.labels[i]).collect();
        Tensor::from_slice(&labels).to_device(self.device)
    }

    fn photo_pairs(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<Pairs> {
        let Transforms { active, ranges, .. } = &self.transforms;
        let draws = match self.mode {
            PairMode::Combined => Draws::sample(&keys(units), seed, epoch, active, ranges),
            PairMode::SingleEach => Draws::single_each(&keys(units), seed, epoch, active, ranges),
        };
        let view1 = self.first_views(seed, epoch, units)?;
        let (view2, parameters) = self.transformed(&view1, &draws, active);
        let labels = self.label_tensor(units.iter().copied());
        Ok(Pairs { view1: self.normalise(&view1.pixels()), view2, labels, parameters })
    }

    fn render_pairs(&self, scene: &Scene, pairs: &[[usize; 2]]) -> Result<Pairs> {
        let side = |which: usize| pairs.iter().map(|pair| pair[which]).collect::<Vec<_>>();
        Ok(Pairs {
            view1: self.images(&side(0))?,
            view2: self.images(&side(1))?,
            labels: self.label_tensor(pairs.iter().map(|pair| pair[0])),
            parameters: render_parameters(scene, pairs).to_device(self.device),
        })
    }
}

/// uint8 to floats in [0, 1].
fn unit(images: &Tensor) -> Tensor {
    images.to_kind(tch::Kind::Float) / 255.0
}

/// (n, 6): relative quaternion (x, y, z, w), then differences of floor hue and light hue.
pub fn render_parameters(scene: &Scene, pairs: &[[usize; 2]]) -> Tensor {
    let rows = |which: usize| -> Vec<[f32; 7]> {
        let row = |pair: &[usize; 2]| std::array::from_fn(|j| scene.latents[[pair[which], j]]);
        pairs.iter().map(row).collect()
    };
    let (first, second) = (rows(0), rows(1));
    let rotation = Tensor::from_slice(&relative_quaternions(&first, &second)).view([-1, 4]);
    let color = Tensor::from_slice(&color_difference(&first, &second)).view([-1, 2]);
    Tensor::cat(&[rotation, color], 1)
}

fn keys(units: &[usize]) -> Vec<u64> {
    units.iter().map(|&unit| unit as u64).collect()
}
