//! A small set held in memory.

use std::path::Path;

use ndarray::{Array2, Array4, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::folder_of;
use crate::pack::{self, Contents, Form, LATENTS, Pack, Payload, SplitContents};

/// What the two views of a pair are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Photographs: view 2 is a known transformation of view 1.
    Photographs,
    /// Renders of 3D objects with scene latents: a pair is two renders of one object.
    Renders,
}

/// One split.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// (N, H, W, 3), RGB, 0..=255.
    pub images: Array4<u8>,
    /// (N), class index.
    pub labels: Vec<i32>,
    /// Renders only.
    pub scene: Option<Scene>,
}

/// The 3D side of a split of renders.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// (N, 7) in 3DIEBench's order: object angles about x, y, z (radians, extrinsic xyz), floor hue, light theta, light phi, light hue.
    pub latents: Array2<f32>,
    /// Views an object has; the views of object k are the images k*views .. (k+1)*views.
    pub views: usize,
}

/// A data set with its two splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name as it stands in tables, such as `solids` or `CIFAR10`.
    pub name: String,
    /// What a pair is.
    pub kind: Kind,
    /// Class names; `labels` index it.
    pub class_names: Vec<String>,
    /// Per-channel mean of the training images, in [0, 1].
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training images, in [0, 1] units.
    pub std: [f32; 3],
    /// Training split.
    pub train: Split,
    /// Test split; no object of it is in the training split.
    pub test: Split,
    /// How the set was made (source archive and checksum, options), as JSON.
    pub provenance: serde_json::Value,
}

impl Dataset {
    /// Writes the set to a pack at `path`, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the set contradicts itself (counts, labels out of range, ...), [`Error::Io`] and [`Error::Hdf5`] where
    /// it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check().map_err(|reason| Error::Invalid(format!("data set `{}`: {reason}", self.name)))?;
        pack::write(
            path.as_ref(),
            folder_of(path.as_ref()),
            &Contents {
                name: &self.name,
                kind: self.kind,
                class_names: &self.class_names,
                mean: self.mean,
                std: self.std,
                provenance: &self.provenance,
                splits: vec![self.train.contents("train"), self.test.contents("test")],
            },
        )
    }

    /// Reads the pack at `path` into memory; [`Pack::open`] and [`Pack::load`] say what is checked.
    ///
    /// # Errors
    /// As theirs.
    pub fn open(path: impl AsRef<Path>) -> Result<Dataset> {
        Pack::open(path)?.load()
    }

    /// What a set must fulfil; the reason where it does not.
    fn check(&self) -> std::result::Result<(), String> {
        if self.class_names.is_empty() {
            return Err("no class names".into());
        }
        let usable = self.mean.iter().all(|m| m.is_finite()) && self.std.iter().all(|s| s.is_finite() && *s > 0.0);
        if !usable {
            return Err(format!("mean {:?} and std {:?} must be finite, std above 0", self.mean, self.std));
        }
        for (name, split) in [("train", &self.train), ("test", &self.test)] {
            split.check(self.kind, self.class_names.len()).map_err(|reason| format!("{name}: {reason}"))?;
        }
        match (self.train.side(), self.test.side()) {
            (train, test) if train != test => Err(format!("images of {train} px in train and of {test} px in test")),
            _ => Ok(()),
        }
    }
}

impl Split {
    /// [`Dataset::check`] for one split.
    fn check(&self, kind: Kind, classes: usize) -> std::result::Result<(), String> {
        let count = self.len();
        let &[images, height, width, channels] = self.images.shape() else { unreachable!("Array4 has four axes") };
        if count == 0 || images != count {
            return Err(format!("{images} images and {count} labels"));
        }
        if height != width || height == 0 || channels != 3 {
            return Err(format!("images of {height} x {width} x {channels}, expected square RGB ones"));
        }
        if let Some(image) = self.labels.iter().position(|&label| label < 0 || label as usize >= classes) {
            return Err(format!("image {image} has label {}, expected 0 to {}", self.labels[image], classes - 1));
        }
        match (&self.scene, kind) {
            (None, Kind::Photographs) => Ok(()),
            (Some(scene), Kind::Renders) => scene.check(count),
            (scene, kind) => {
                let has = if scene.is_some() { "has" } else { "lacks" };
                Err(format!("a set of {} that {has} scene latents", kind.pack_name()))
            }
        }
    }

    /// The split for a pack.
    fn contents<'a>(&'a self, name: &'a str) -> SplitContents<'a> {
        let (labels, scene, images) = (&self.labels, self.scene.as_ref(), self.payload());
        SplitContents { name, labels, names: None, scene, images, masks: None }
    }

    /// The images for a pack.
    fn payload(&self) -> Payload<'_> {
        let images = self.images.as_standard_layout();
        let bytes = images.len() / self.len();
        let pixels = images.as_slice().expect("standard layout");
        Payload {
            form: Form::Pixels { height: self.side(), width: self.images.len_of(Axis(2)), channels: 3 },
            checksums: pack::checksums_of(pixels.par_chunks_exact(bytes)),
            copy: Box::new(move |to| to.write_all(images.as_slice().expect("standard layout"))),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the split holds no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Side of the (square) images in pixels.
    pub fn side(&self) -> usize {
        self.images.shape()[1]
    }

    /// Number of units a training epoch walks over: objects of renders, images of photographs.
    pub fn units(&self) -> usize {
        self.scene.as_ref().map_or(self.len(), |scene| self.len() / scene.views)
    }
}

impl Scene {
    /// What the scene of a split of `count` images must fulfil; the reason where it does not.
    pub(crate) fn check(&self, count: usize) -> std::result::Result<(), String> {
        if self.latents.shape() != [count, LATENTS] {
            return Err(format!("latents of shape {:?}, expected [{count}, {LATENTS}]", self.latents.shape()));
        }
        if self.views == 0 || !count.is_multiple_of(self.views) {
            return Err(format!("{count} images are no multiple of {} views per object", self.views));
        }
        match self.latents.rows().into_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            Some(image) => Err(format!("the latents of image {image} are not finite")),
            None => Ok(()),
        }
    }
}

/// Per-channel mean and standard deviation of `images` (N, H, W, 3), in [0, 1] units.
pub fn channel_statistics(images: &Array4<u8>) -> ([f32; 3], [f32; 3]) {
    let mut sum = [0u64; 3];
    let mut squares = [0u64; 3];
    for pixel in images.rows() {
        for channel in 0..3 {
            let value = u64::from(pixel[channel]);
            sum[channel] += value;
            squares[channel] += value * value;
        }
    }
    let count = (images.len() / 3).max(1) as f64;
    let mean = sum.map(|s| s as f64 / count / 255.0);
    let mut std = [0f32; 3];
    for channel in 0..3 {
        let second = squares[channel] as f64 / count / (255.0 * 255.0);
        std[channel] = (second - mean[channel] * mean[channel]).max(1e-12).sqrt() as f32;
    }
    (mean.map(|m| m as f32), std)
}
