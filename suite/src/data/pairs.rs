//! Pairs of views with the parameters of the transformation between them: two renders of an object, or a
//! photograph and its transformation.

use std::sync::Arc;

use anyhow::Result;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::targets::{color_difference, relative_quaternions};
use eqr_datasets::transforms::{
    BaseDraw, BaseView, Draws, FirstView, Frame, SecondView, Shift, Transform, field_side,
};
use eqr_datasets::{DeviceNumbers, HostNumbers, Loader, SceneLatents, Slot, queued, view_pairs};
use eqr_models::MethodKind;
use eqr_models::Normalisation;
use eqr_models::methods::{KnownTransforms, PairMode};
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use crate::console::with_progress;
use crate::data::open::OpenedPack;
use crate::suite_file::transforms::Transforms;

/// Largest size, in bytes, of a split whose images are kept on the device.
const RESIDENT_BYTES: u64 = 4 << 30;

/// Makes pairs from a split of a data set. Each pair comes from one unit: an object (renders) or a
/// photograph.
pub struct PairSource {
    images: Images,
    device: Device,
    labels: Arc<[i64]>,
    scene: Option<Arc<SceneLatents>>,
    normalisation: Normalisation,
    transforms: Transforms,
    units: Arc<[usize]>,
    pairing: Pairing,
}

/// How the two views of a photograph differ.
#[derive(Clone)]
enum Pairing {
    /// By all active transforms.
    All,
    /// By one random active transform.
    SingleEach,
    /// By these transforms.
    Only(Vec<Transform>),
    /// Half of the pairs by all active transforms, half by one random transform of these.
    HalfSingle(Vec<Transform>),
}

/// Where the images of a split are stored.
enum Images {
    /// On the device: (N, 3, H, W), uint8.
    Resident(Tensor),
    /// In the pack.
    Streamed(Arc<Loader>),
}

/// What the transforms of a batch of photographs depend on.
#[derive(Clone, Copy)]
pub struct ViewDraw<'a> {
    /// Seed of the pairs.
    pub seed: u64,
    /// Epoch, or number of the draw.
    pub epoch: u64,
    /// The photographs.
    pub units: &'a [usize],
}

/// View 1 of a batch of photographs, before there are pixels.
enum PlannedView1 {
    /// Of images on the device, whose rows these are.
    Resident { rows: Slot, view: BaseView },
    /// Of images that are read from the pack.
    Streamed(Frame),
}

/// A batch of pairs.
pub struct Pairs {
    /// (n, 3, H, W), normalised.
    pub view1: Tensor,
    /// (n, 3, H, W), normalised.
    pub view2: Tensor,
    /// (n), class index.
    pub labels: Tensor,
    /// (n, P), the parameter vectors of all tasks side by side.
    pub parameters: Tensor,
}

impl PairSource {
    /// The split `name` of `opened`. Its images are kept on `device` if they are few and of the right size;
    /// otherwise they are read batch by batch.
    ///
    /// # Errors
    /// A pack that cannot be read.
    pub fn new(opened: &OpenedPack, name: &str, transforms: &Transforms, device: Device) -> Result<Self> {
        let (pack, side) = (&opened.pack, opened.side);
        let split = pack.expect_split(name)?;
        let fits = split.side() == Some(side) && (split.len() * side * side * 3) as u64 <= RESIDENT_BYTES;
        let images = if fits {
            let loaded = with_progress("reading images", |_| split.load())?.images;
            let bytes = loaded.as_slice().expect("images lie in standard order");
            let images = Tensor::from_slice(bytes).view([split.len() as i64, side as i64, side as i64, 3]);
            Images::Resident(images.permute([0, 3, 1, 2]).contiguous().to_device(device))
        } else {
            Images::Streamed(Arc::new(Loader::new(split.clone(), side)))
        };
        let views = split.scene.as_ref().map_or(1, |scene| scene.views);
        Ok(PairSource {
            units: (0..split.len() / views).collect(),
            pairing: Pairing::All,
            images,
            device,
            labels: split.labels.iter().map(|&label| i64::from(label)).collect(),
            scene: split.scene.clone().map(Arc::new),
            normalisation: Normalisation { mean: pack.mean, std: pack.std },
            transforms: transforms.clone(),
        })
    }

    /// The same source, for example for another thread: tensors may be sent to a thread, but not shared with
    /// it.
    pub fn share(&self) -> Self {
        let images = match &self.images {
            Images::Resident(images) => Images::Resident(images.shallow_clone()),
            Images::Streamed(loader) => Images::Streamed(loader.clone()),
        };
        let (labels, scene, transforms) = (self.labels.clone(), self.scene.clone(), self.transforms.clone());
        let (device, normalisation, units, pairing) =
            (self.device, self.normalisation, self.units.clone(), self.pairing.clone());
        PairSource { images, device, labels, scene, normalisation, transforms, units, pairing }
    }

    /// The same source with only these units.
    pub fn restricted(&self, units: &[usize]) -> Self {
        PairSource { units: units.into(), ..self.share() }
    }

    /// The same source with the pairs that the method trains on. Renders always differ by all transforms.
    pub fn paired_for(&self, kind: &MethodKind) -> Self {
        let active = &self.transforms.active;
        let known = || match kind.known_transforms() {
            KnownTransforms::All => active.clone(),
            KnownTransforms::Some(names) => {
                let named = |t: &Transform| names.iter().any(|name| name.task() == t.name());
                active.iter().copied().filter(named).collect()
            }
        };
        let pairing = match kind.pairs() {
            PairMode::Combined => Pairing::All,
            PairMode::SingleEach => Pairing::SingleEach,
            PairMode::Own => Pairing::Only(known()),
            PairMode::HalfSingle => Pairing::HalfSingle(known()),
        };
        PairSource { pairing, ..self.share() }
    }

    /// Whether batches should be made ahead on another thread: images are read and decoded, or the device is
    /// a GPU.
    pub fn wants_prefetch(&self) -> bool {
        matches!(self.images, Images::Streamed(_)) || self.device != Device::Cpu
    }

    /// The 3D parameters of renders; `None` for photographs.
    pub fn scene(&self) -> Option<&SceneLatents> {
        self.scene.as_deref()
    }

    /// The units that pairs are made from, ascending.
    pub fn units(&self) -> &[usize] {
        &self.units
    }

    /// Number of images per unit: the views of an object, or 1.
    pub fn views(&self) -> usize {
        self.scene.as_ref().map_or(1, |scene| scene.views)
    }

    /// Class of every image.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Number of images of the split, including those of units that were left out.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the split has no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Indices of the units' images, unit by unit.
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

    /// One pair of each unit, a function of seed, epoch and unit.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn pairs(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<Pairs> {
        match &self.scene {
            Some(scene) => self.render_pairs(scene, &view_pairs(scene.views, seed, epoch, units)),
            None => self.photo_pairs(seed, epoch, units),
        }
    }

    /// The images `indices` without augmentation, normalised: (n, 3, H, W).
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn images(&self, indices: &[usize]) -> Result<Tensor> {
        let mut numbers = HostNumbers::default();
        let rows = numbers.push_indices(indices);
        let images = self.stored(indices, &rows, &numbers.on_device(self.device))?;
        Ok(self.normalise(&unit(&images)))
    }

    /// View 1 of the photographs `units`, in [0, 1]: (n, 3, H, W). If the border is a window, it has a margin
    /// that is large enough for all active transforms, so it does not depend on which of them makes view 2.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn first_views(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<FirstView> {
        let draw = ViewDraw { seed, epoch, units };
        let mut numbers = HostNumbers::default();
        let planned = self.plan_first_views(draw, &mut numbers);
        self.make_first_views(&planned, draw, &numbers.on_device(self.device))
    }

    fn plan_first_views(&self, draw: ViewDraw<'_>, numbers: &mut HostNumbers) -> PlannedView1 {
        let reach = self.reach();
        let ViewDraw { seed, epoch, units } = draw;
        match &self.images {
            Images::Resident(images) => {
                let (_, _, height, width) = images.size4().expect("images are (N, 3, H, W)");
                let draw = BaseDraw { keys: &keys(units), seed, epoch, reach };
                PlannedView1::Resident {
                    rows: numbers.push_indices(units),
                    view: BaseView::new([height, width], images.kind(), draw, numbers),
                }
            }
            Images::Streamed(loader) => {
                let side = loader.side();
                PlannedView1::Streamed(Frame::square(side as i64, field_side(side, reach) as i64))
            }
        }
    }

    fn make_first_views(
        &self,
        planned: &PlannedView1,
        ViewDraw { seed, epoch, units }: ViewDraw<'_>,
        numbers: &DeviceNumbers,
    ) -> Result<FirstView> {
        Ok(match (&self.images, planned) {
            (Images::Resident(images), PlannedView1::Resident { rows, view }) => {
                view.of(&images.index_select(0, &numbers.get(rows, Kind::Int64)), numbers)
            }
            (Images::Streamed(loader), PlannedView1::Streamed(frame)) => {
                let field = queued(&loader.base_views(units, seed, epoch, self.reach())?, self.device);
                FirstView::centered_in(&unit(&field), frame.size[0])
            }
            _ => unreachable!("planned by the same source"),
        })
    }

    /// How much wider than view 1 the field around it is.
    fn reach(&self) -> f64 {
        let Transforms { active, border, ranges } = &self.transforms;
        border.reach(active, ranges)
    }

    /// View 2 made from `view1` by only the transforms `active`, normalised, and their parameter vectors side
    /// by side.
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

    /// The same second views for one transform, after a small step along one entry of its parameter vector in
    /// each image ([`Draws::stepped`]); `outputs` says which.
    pub fn stepped_views(
        &self,
        view1: &FirstView,
        draw: ViewDraw<'_>,
        transform: Transform,
        outputs: &[usize],
    ) -> (Tensor, Tensor) {
        let ViewDraw { seed, epoch, units } = draw;
        let ranges = &self.transforms.ranges;
        let draws = Draws::sample(&keys(units), seed, epoch, &[transform], ranges);
        self.transformed(view1, &draws.stepped(transform, outputs, ranges), &[transform])
    }

    /// The same second views for one transform, whose parameters lie in the ranges of `shift`. The parameter
    /// vectors keep the units of the ordinary ranges.
    pub fn shifted_views(
        &self,
        view1: &FirstView,
        draw: ViewDraw<'_>,
        transform: Transform,
        shift: &Shift,
    ) -> (Tensor, Tensor) {
        let ViewDraw { seed, epoch, units } = draw;
        let ranges = &self.transforms.ranges;
        let draws = Draws::sample(&keys(units), seed, epoch, &[transform], ranges);
        self.transformed(view1, &draws.shifted(transform, ranges, shift), &[transform])
    }

    /// View 2 made from `view1` by `draws`, normalised, and the parameter vectors of `active` side by side.
    fn transformed(&self, view1: &FirstView, draws: &Draws, active: &[Transform]) -> (Tensor, Tensor) {
        let mut numbers = HostNumbers::default();
        let second = SecondView::new(draws, view1.frame(), self.transforms.border, &mut numbers);
        let parameters = self.push_parameters(draws, active, &mut numbers);
        let numbers = numbers.on_device(self.device);
        (self.normalise(&view1.seen(&second, &numbers)), numbers.get(&parameters, Kind::Float))
    }

    /// The parameter vectors of `active` side by side, (n, their outputs).
    fn push_parameters(&self, draws: &Draws, active: &[Transform], numbers: &mut HostNumbers) -> Slot {
        let ranges = &self.transforms.ranges;
        let each: Vec<(usize, Vec<f32>)> =
            active.iter().map(|&transform| (transform.dim(), draws.target(transform, ranges))).collect();
        let width: usize = each.iter().map(|(dim, _)| dim).sum();
        let row = |image: usize| each.iter().flat_map(move |(dim, all)| &all[image * dim..(image + 1) * dim]);
        let values = (0..draws.len()).flat_map(row).map(|&value| f64::from(value));
        numbers.push(&[draws.len() as i64, width as i64], values)
    }

    /// The same source with other statistics for normalising images.
    pub fn normalised_by(&self, normalisation: Normalisation) -> Self {
        PairSource { normalisation, ..self.share() }
    }

    /// The statistics for normalising images; by default those of the training images.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// Maps images in [0, 1] to mean 0 and deviation 1 per channel.
    pub fn normalise(&self, images: &Tensor) -> Tensor {
        self.normalisation.apply(images)
    }

    /// The inverse of [`PairSource::normalise`].
    pub fn denormalise(&self, images: &Tensor) -> Tensor {
        self.normalisation.undo(images)
    }

    /// The images `indices` as they are stored: (n, 3, H, W), uint8. `rows` are their indices.
    fn stored(&self, indices: &[usize], rows: &Slot, numbers: &DeviceNumbers) -> Result<Tensor> {
        Ok(match &self.images {
            Images::Resident(images) => images.index_select(0, &numbers.get(rows, Kind::Int64)),
            Images::Streamed(loader) => queued(&loader.squares(indices)?, self.device),
        })
    }

    /// The classes of images.
    fn push_labels(&self, indices: impl Iterator<Item = usize>, numbers: &mut HostNumbers) -> Slot {
        let labels: Vec<f64> = indices.map(|image| self.labels[image] as f64).collect();
        numbers.push(&[labels.len() as i64], labels)
    }

    fn photo_pairs(&self, seed: u64, epoch: u64, units: &[usize]) -> Result<Pairs> {
        let Transforms { active, ranges, border } = &self.transforms;
        let keys = keys(units);
        let draws = match &self.pairing {
            Pairing::All => Draws::sample(&keys, seed, epoch, active, ranges),
            Pairing::SingleEach => Draws::single_each(&keys, seed, epoch, active, ranges),
            Pairing::Only(transforms) => Draws::sample(&keys, seed, epoch, transforms, ranges),
            Pairing::HalfSingle(singles) => Draws::half_single(&keys, seed, epoch, active, singles, ranges),
        };
        let draw = ViewDraw { seed, epoch, units };
        let mut numbers = HostNumbers::default();
        let first = self.plan_first_views(draw, &mut numbers);
        let second = SecondView::new(&draws, first.frame(), *border, &mut numbers);
        let labels = self.push_labels(units.iter().copied(), &mut numbers);
        let parameters = self.push_parameters(&draws, active, &mut numbers);
        let numbers = numbers.on_device(self.device);
        let view1 = self.make_first_views(&first, draw, &numbers)?;
        Ok(Pairs {
            view1: self.normalise(&view1.pixels()),
            view2: self.normalise(&view1.seen(&second, &numbers)),
            labels: numbers.get(&labels, Kind::Int64),
            parameters: numbers.get(&parameters, Kind::Float),
        })
    }

    fn render_pairs(&self, scene: &SceneLatents, pairs: &[[usize; 2]]) -> Result<Pairs> {
        let side = |which: usize| pairs.iter().map(move |pair| pair[which]);
        let both: Vec<usize> = side(0).chain(side(1)).collect();
        let mut numbers = HostNumbers::default();
        let rows = numbers.push_indices(&both);
        let labels = self.push_labels(side(0), &mut numbers);
        let parameters = numbers.push(&[pairs.len() as i64, 6], render_parameters(scene, pairs));
        let numbers = numbers.on_device(self.device);
        let views = self.normalise(&unit(&self.stored(&both, &rows, &numbers)?)); // (2n, 3, H, W)
        let count = pairs.len() as i64;
        let [view1, view2] = [0, count].map(|start| views.narrow(0, start, count));
        Ok(Pairs {
            view1,
            view2,
            labels: numbers.get(&labels, Kind::Int64),
            parameters: numbers.get(&parameters, Kind::Float),
        })
    }
}

impl PlannedView1 {
    fn frame(&self) -> Frame {
        match self {
            PlannedView1::Resident { view, .. } => view.frame(),
            PlannedView1::Streamed(frame) => *frame,
        }
    }
}

/// uint8 to floats in [0, 1].
fn unit(images: &Tensor) -> Tensor {
    images.to_kind(Kind::Float) / 255.0
}

/// (n, 6), row by row: relative quaternion (x, y, z, w), then differences of floor hue and light hue.
pub fn render_parameters(scene: &SceneLatents, pairs: &[[usize; 2]]) -> Vec<f64> {
    let rows = |which: usize| -> Vec<[f32; 7]> {
        let row = |pair: &[usize; 2]| std::array::from_fn(|j| scene.latents[[pair[which], j]]);
        pairs.iter().map(row).collect()
    };
    let (first, second) = (rows(0), rows(1));
    let (rotation, color) = (relative_quaternions(&first, &second), color_difference(&first, &second));
    let pairs = rotation.chunks(4).zip(color.chunks(2));
    pairs.flat_map(|(rotation, color)| rotation.iter().chain(color)).map(|&value| f64::from(value)).collect()
}

fn keys(units: &[usize]) -> Vec<u64> {
    units.iter().map(|&unit| unit as u64).collect()
}

#[cfg(test)]
mod tests {
    use eqr_datasets::{Dataset, Pack, SetKind, Split};
    use ndarray::{Array2, Array4};
    use tempfile::TempDir;

    use super::*;

    const SIDE: usize = 8;

    /// A pack of 12 images. They are renders if `views` is above 1.
    fn opened(views: usize, side: usize) -> (TempDir, OpenedPack) {
        let split = || Split {
            images: Array4::from_shape_fn((12, SIDE, SIDE, 3), |(i, y, x, c)| {
                (i * 37 + y * 9 + x * 5 + c * 50) as u8
            }),
            labels: (0..12).map(|i| (i / views % 2) as i32).collect(),
            scene: (views > 1).then(|| {
                let angle = |(i, j): (usize, usize)| (i * 7 + j) as f32 % 6.0 / 6.0;
                SceneLatents { latents: Array2::from_shape_fn((12, 7), angle), views }
            }),
        };
        let dataset = Dataset {
            name: "set".into(),
            kind: if views > 1 { SetKind::Renders } else { SetKind::Photographs },
            class_names: vec!["a".into(), "b".into()],
            mean: [0.4; 3],
            std: [0.2; 3],
            train: split(),
            test: split(),
            provenance: serde_json::Value::Null,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.h5");
        dataset.write(&path).unwrap();
        let pack = Pack::open(&path).unwrap();
        (folder, OpenedPack { pack, side })
    }

    fn source(opened: &OpenedPack) -> PairSource {
        PairSource::new(opened, "train", &Transforms::default(), Device::Cpu).unwrap()
    }

    #[test]
    fn a_pair_depends_on_its_seed_epoch_and_unit_alone() {
        for views in [1, 3] {
            let (_folder, opened) = opened(views, SIDE);
            let source = source(&opened);
            let pairs = |seed, epoch, units: &[usize]| source.pairs(seed, epoch, units).unwrap();
            let (together, alone) = (pairs(1, 2, &[3, 0, 2]), pairs(1, 2, &[0]));
            assert!(together.view2.get(1).allclose(&alone.view2.get(0), 1e-5, 1e-6, false), "{views} views");
            assert!(together.parameters.get(1).equal(&alone.parameters.get(0)), "{views} views");
            assert!(!pairs(1, 3, &[3, 0, 2]).parameters.equal(&together.parameters), "{views} views");
            assert!(!pairs(2, 2, &[3, 0, 2]).parameters.equal(&together.parameters), "{views} views");
        }
    }

    #[test]
    fn views_of_renders_are_two_images_of_the_object() {
        let (_folder, opened) = opened(3, SIDE);
        let source = source(&opened).restricted(&[1, 3]);
        assert_eq!(source.indices(), [3, 4, 5, 9, 10, 11]);
        let pairs = source.pairs(0, 0, source.units()).unwrap();
        for (row, unit) in [(0, 1), (1, 3)] {
            let views = source.images(&[unit * 3, unit * 3 + 1, unit * 3 + 2]).unwrap();
            let index = |view: &Tensor| (0..3).find(|&i| views.get(i).equal(&view.get(row)));
            let (first, second) = (index(&pairs.view1).unwrap(), index(&pairs.view2).unwrap());
            assert_ne!(first, second);
            assert_eq!(pairs.labels.int64_value(&[row]), source.labels()[unit * 3]);
        }
    }

    #[test]
    fn streamed_images_are_those_kept_on_the_device_resized() {
        let (_folder, opened) = opened(1, SIDE);
        let resident = source(&opened);
        let streamed = source(&OpenedPack { side: 2 * SIDE, ..opened });
        assert!(!resident.wants_prefetch() && streamed.wants_prefetch());
        let (small, large) = (resident.images(&[0, 5]).unwrap(), streamed.images(&[0, 5]).unwrap());
        assert_eq!(large.size(), [2, 3, 2 * SIDE as i64, 2 * SIDE as i64]);
        let means = |images: &Tensor| images.mean_dim([2i64, 3].as_slice(), false, tch::Kind::Float);
        assert!(means(&small).allclose(&means(&large), 0.0, 0.1, false));
    }

    #[test]
    fn an_epoch_has_every_unit_once_and_denormalising_inverts() {
        let (_folder, opened) = opened(1, SIDE);
        let source = source(&opened).restricted(&[0, 2, 4, 6, 8, 10]);
        let mut order = source.order(5, 1);
        assert_ne!(order, source.order(5, 2));
        order.sort_unstable();
        assert_eq!(order, source.units());
        let images = source.images(&[1]).unwrap();
        assert!(source.normalise(&source.denormalise(&images)).allclose(&images, 1e-5, 1e-5, false));
    }
}
