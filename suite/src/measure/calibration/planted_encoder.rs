//! An encoder that knows the images it is shown: it recognises every image by its pixels, looks up the
//! latents that the image was rendered from, and gives what its [`Plant`] says.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use eqr_datasets::SetKind;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::targets::relative_quaternions;
use rand::Rng;
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::console::counted;
use crate::data::pairs::PairSource;
use crate::encoder::representation::{FeatureEncoder, Representation};
use crate::measure::calibration::stand_ins::stand_ins;
use crate::measure::evaluation::{ENCODE, Evaluation};
use crate::suite_file::plant::{Code, Plant};

/// Hash of the pixels of an image.
type Fingerprint = [u8; 32];

/// Columns of floor hue and light hue among the latents.
const HUES: [usize; 2] = [3, 6];

/// The images of both splits, and what they were rendered from.
pub struct KnownImages {
    of_fingerprint: HashMap<Fingerprint, Place>,
    splits: [KnownSplit; 2],
}

/// An image: its split, and its number there.
#[derive(Clone, Copy)]
struct Place {
    split: usize,
    image: usize,
}

struct KnownSplit {
    views: usize,
    /// Pose of each image: quaternion x, y, z, w.
    poses: Vec<[f32; 4]>,
    /// Floor hue and light hue of each image.
    hues: Vec<[f32; 2]>,
}

/// What is planted, for known images.
pub(super) struct PlantedEncoder<'a> {
    known: &'a KnownImages,
    plant: Plant,
    seed: u64,
    /// The object that each object of a split is taken for.
    stand_ins: [Vec<usize>; 2],
    /// Columns of y. Those that carry nothing are noise.
    features: usize,
}

impl KnownImages {
    /// Looks at all images of the evaluation, which are renders.
    ///
    /// # Errors
    /// A pack of photographs; images that cannot be read; two equal images.
    pub fn of(evaluation: &Evaluation) -> Result<KnownImages> {
        let path = evaluation.pack.path().display();
        ensure!(
            evaluation.pack.kind == SetKind::Renders,
            "{path} has photographs, expected renders: a planted encoder looks up what an image was rendered \
             from\nhint: `eqr-bench calibrate` without --data renders its own"
        );
        let mut of_fingerprint = HashMap::new();
        for (split, source) in [evaluation.train, evaluation.test].into_iter().enumerate() {
            for batch in counted("looking at images, batches", source.indices().chunks(ENCODE)) {
                for (fingerprint, &image) in fingerprints(&source.images(batch)?).into_iter().zip(batch) {
                    if let Some(other) = of_fingerprint.insert(fingerprint, Place { split, image }) {
                        let names = ["training", "test"];
                        bail!(
                            "{path}: {} image {} and {} image {image} are equal, so that no encoder can tell \
                             their parameters apart",
                            names[other.split],
                            other.image,
                            names[split]
                        );
                    }
                }
            }
        }
        let splits = [KnownSplit::of(evaluation.train), KnownSplit::of(evaluation.test)];
        Ok(KnownImages { of_fingerprint, splits })
    }
}

impl KnownSplit {
    fn of(source: &PairSource) -> KnownSplit {
        let latents = &source.scene().expect("renders have scenes").latents;
        let rows: Vec<[f32; 7]> =
            latents.rows().into_iter().map(|row| std::array::from_fn(|column| row[column])).collect();
        // the rotation from no rotation is the pose
        let poses = relative_quaternions(&vec![[0.0; 7]; rows.len()], &rows);
        KnownSplit {
            views: source.views(),
            poses: poses.chunks_exact(4).map(|pose| std::array::from_fn(|j| pose[j])).collect(),
            hues: rows.iter().map(|row| HUES.map(|column| row[column])).collect(),
        }
    }
}

impl<'a> PlantedEncoder<'a> {
    /// An encoder with `features` columns, at least [`CARRIED`](crate::suite_file::plant::CARRIED). `seed`
    /// draws what it confuses and its noise.
    pub(super) fn new(known: &'a KnownImages, plant: Plant, seed: u64, features: usize) -> Self {
        let objects = |split: usize| known.splits[split].poses.len() / known.splits[split].views;
        let stand_ins = [0, 1].map(|split| stand_ins(objects(split), plant.share(), seed, split));
        PlantedEncoder { known, plant, seed, stand_ins, features }
    }

    /// y of an image: what is carried, then noise of variance 1. Noise and sign depend on the seed and the
    /// image alone.
    fn row(&self, fingerprint: &Fingerprint) -> Option<Vec<f32>> {
        let Place { split, image } = *self.known.of_fingerprint.get(fingerprint)?;
        let KnownSplit { views, poses, hues } = &self.known.splits[split];
        let seen = self.stand_ins[split][image / views] * views + image % views;
        let key = u64::from_le_bytes(fingerprint[..8].try_into().expect("eight bytes"));
        let mut rng = rng(self.seed, 1, key, Purpose::Planted);
        let sign = if rng.r#gen() { 1.0 } else { -1.0 };
        let mut row = match self.plant.code {
            Code::Plain => [&poses[seen][..], &hues[seen]].concat(),
            Code::Signed => [&hues[seen].map(|hue| sign * hue)[..], &[sign]].concat(),
        };
        let bound = 3f32.sqrt();
        row.resize_with(self.features, || rng.gen_range(-bound..bound));
        Some(row)
    }
}

impl FeatureEncoder for PlantedEncoder<'_> {
    fn represent(&self, images: &Tensor) -> Result<Representation> {
        let rows: Option<Vec<Vec<f32>>> =
            fingerprints(images).par_iter().map(|fingerprint| self.row(fingerprint)).collect();
        let rows = rows.context("a planted encoder was shown an image that it does not know")?;
        let y = Tensor::from_slice(&rows.concat()).view([-1, self.features as i64]);
        Ok(Representation { y: y.to_device(images.device()), grid: None })
    }
}

/// Hashes of images (B, 3, S, S), float32.
fn fingerprints(images: &Tensor) -> Vec<Fingerprint> {
    let pixels = Vec::<f32>::try_from(images.to_device(Device::Cpu).reshape([-1])).expect("float32");
    let each = pixels.len() / images.size()[0] as usize;
    let hash = |image: &[f32]| {
        let bytes: Vec<u8> = image.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        *blake3::hash(&bytes).as_bytes()
    };
    pixels.par_chunks_exact(each).map(hash).collect()
}
