//! Pairs of views with what leads from one to the other: two renders of an object, or a photograph and its transformation.

use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::targets::{color_difference, relative_quaternions};
use eqr_datasets::transforms::{Draws, FirstView, Transform, base_view};
use eqr_datasets::{Dataset, Kind, Scene, Split};
use rand::Rng;
use rand::seq::SliceRandom;
use tch::{Device, Tensor};

use crate::config::Transforms;

/// A split on the model's device, ready to give pairs.
pub struct PairSource {
    images: Tensor,
    labels: Vec<i64>,
    scene: Option<Scene>,
    mean: Tensor,
    std: Tensor,
    transforms: Transforms,
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

/// A column of an equivariance table and the length of its target.
pub type Task = (String, i64);

/// The equivariance tasks of a data set.
pub fn tasks(kind: Kind, transforms: &Transforms) -> Vec<Task> {
    match kind {
        Kind::Renders => vec![("rotation".into(), 4), ("color".into(), 2)],
        Kind::Photographs => transforms.active.iter().map(|t| (t.name().to_owned(), t.dim() as i64)).collect(),
    }
}

impl PairSource {
    /// Moves `split` of `dataset` to `device`.
    pub fn new(dataset: &Dataset, split: &Split, transforms: &Transforms, device: Device) -> Self {
        let (n, height, width, _) = split.images.dim();
        let bytes = split.images.as_slice().expect("images lie in standard order");
        let images = Tensor::from_slice(bytes).view([n as i64, height as i64, width as i64, 3]);
        let images = images.permute([0, 3, 1, 2]).contiguous().to_device(device);
        let channel = |values: &[f32; 3]| Tensor::from_slice(values).view([1, 3, 1, 1]).to_device(device);
        PairSource {
            images,
            labels: split.labels.iter().map(|&label| i64::from(label)).collect(),
            scene: split.scene.clone(),
            mean: channel(&dataset.mean),
            std: channel(&dataset.std),
            transforms: transforms.clone(),
        }
    }

    /// Objects of renders, images of photographs.
    pub fn units(&self) -> usize {
        self.labels.len() / self.views()
    }

    /// Views of a unit: those of an object, or 1.
    pub fn views(&self) -> usize {
        self.scene.as_ref().map_or(1, |scene| scene.views)
    }

    /// Class of every image.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The units in the order of an epoch.
    pub fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.units()).collect();
        order.shuffle(&mut rng(seed, epoch, 0, Purpose::Shuffle));
        order
    }

    /// One pair of each unit, drawn by (seed, epoch, unit).
    pub fn pairs(&self, seed: u64, epoch: u64, units: &[usize]) -> Pairs {
        match &self.scene {
            Some(scene) => self.render_pairs(scene, &view_pairs(scene.views, seed, epoch, units)),
            None => self.photo_pairs(seed, epoch, units, &self.transforms.active),
        }
    }

    /// Images `indices`, unchanged, normalised: (n, 3, H, W).
    pub fn images(&self, indices: &[usize]) -> Tensor {
        self.normalise(&(self.select(indices).to_kind(tch::Kind::Float) / 255.0))
    }

    /// View 1 of photographs `units`: (n, 3, H, W), with surroundings for all active transforms where the border is a
    /// window, so that it is the same whichever of them makes view 2.
    pub fn first_views(&self, seed: u64, epoch: u64, units: &[usize]) -> FirstView {
        let Transforms { active, border, ranges } = &self.transforms;
        base_view(&self.select(units), &keys(units), seed, epoch, border.reach(active, ranges))
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
        let ranges = &self.transforms.ranges;
        let draws = Draws::sample(&keys(units), seed, epoch, active, ranges);
        let view2 = view1.transformed(&draws, self.transforms.border);
        let columns: Vec<Tensor> = active
            .iter()
            .map(|&t| Tensor::from_slice(&draws.target(t, ranges)).view([-1, t.dim() as i64]).to_device(view2.device()))
            .collect();
        (self.normalise(&view2), Tensor::cat(&columns, 1))
    }

    /// Images in [0, 1] to mean 0 and deviation 1 a channel.
    pub fn normalise(&self, images: &Tensor) -> Tensor {
        (images - &self.mean) / &self.std
    }

    /// The inverse of [`PairSource::normalise`].
    pub fn denormalise(&self, images: &Tensor) -> Tensor {
        images * &self.std + &self.mean
    }

    fn select(&self, indices: &[usize]) -> Tensor {
        let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        self.images.index_select(0, &Tensor::from_slice(&indices).to_device(self.images.device()))
    }

    fn label_tensor(&self, indices: impl Iterator<Item = usize>) -> Tensor {
        let labels: Vec<i64> = indices.map(|i| self.labels[i]).collect();
        Tensor::from_slice(&labels).to_device(self.images.device())
    }

    fn photo_pairs(&self, seed: u64, epoch: u64, units: &[usize], active: &[Transform]) -> Pairs {
        let view1 = self.first_views(seed, epoch, units);
        let (view2, parameters) = self.second_views(&view1, seed, epoch, units, active);
        Pairs {
            view1: self.normalise(&view1.pixels()),
            view2,
            labels: self.label_tensor(units.iter().copied()),
            parameters,
        }
    }

    fn render_pairs(&self, scene: &Scene, pairs: &[[usize; 2]]) -> Pairs {
        let side = |which: usize| pairs.iter().map(|pair| pair[which]).collect::<Vec<_>>();
        Pairs {
            view1: self.images(&side(0)),
            view2: self.images(&side(1)),
            labels: self.label_tensor(pairs.iter().map(|pair| pair[0])),
            parameters: render_parameters(scene, pairs).to_device(self.images.device()),
        }
    }
}

/// Which two images make the pair of each unit: distinct views of one object.
pub fn view_pairs(views: usize, seed: u64, epoch: u64, units: &[usize]) -> Vec<[usize; 2]> {
    let pair = |&unit: &usize| {
        let mut draw = rng(seed, epoch, unit as u64, Purpose::ViewPair);
        let first = draw.gen_range(0..views);
        let second = (first + draw.gen_range(1..views)) % views;
        [unit * views + first, unit * views + second]
    };
    units.iter().map(pair).collect()
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
