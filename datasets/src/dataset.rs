//! Data sets in memory.

use std::path::Path;

use ndarray::{Array4, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::pack::{self, Contents, Pack, PackedSplit, Payload, SplitContents, Storage};
use crate::scene_latents::SceneLatents;
use crate::set_kind::SetKind;

/// A split in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// (N, H, W, 3), RGB, 0..=255.
    pub images: Array4<u8>,
    /// (N), class index.
    pub labels: Vec<i32>,
    /// Scene latents; renders only.
    pub scene: Option<SceneLatents>,
}

/// A data set with its two splits.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name in tables, such as `solids` or `CIFAR10`.
    pub name: String,
    /// What a pair of views is.
    pub kind: SetKind,
    /// Class names; `labels` index it.
    pub class_names: Vec<String>,
    /// Per-channel mean of the training images, in [0, 1].
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training images, in [0, 1] units.
    pub std: [f32; 3],
    /// Training split.
    pub train: Split,
    /// Test split. It has no objects in common with the training split.
    pub test: Split,
    /// How the set was made (source archive, checksum, options), as JSON.
    pub provenance: serde_json::Value,
}

impl Dataset {
    /// Writes the set atomically to a pack at `path`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the set is inconsistent (counts, labels out of range, ...), [`Error::Io`] and
    /// [`Error::Hdf5`] if the pack cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check().map_err(|reason| Error::Invalid(format!("data set `{}`: {reason}", self.name)))?;
        pack::write(
            path.as_ref(),
            None,
            &Contents {
                name: &self.name,
                kind: self.kind,
                class_names: &self.class_names,
                mean: self.mean,
                std: self.std,
                provenance: &self.provenance,
                splits: vec![self.train.pack_contents("train"), self.test.pack_contents("test")],
            },
        )
    }

    /// Reads the pack at `path` into memory.
    ///
    /// # Errors
    /// The errors of [`Pack::open`] and [`Pack::load`].
    pub fn open(path: impl AsRef<Path>) -> Result<Dataset> {
        Pack::open(path)?.load()
    }

    /// Checks that the set is consistent. The error says what is wrong.
    fn check(&self) -> std::result::Result<(), String> {
        if self.class_names.is_empty() {
            return Err("no class names".into());
        }
        let usable =
            self.mean.iter().all(|m| m.is_finite()) && self.std.iter().all(|s| s.is_finite() && *s > 0.0);
        if !usable {
            return Err(format!("mean {:?} and std {:?} must be finite, std above 0", self.mean, self.std));
        }
        for (name, split) in [("train", &self.train), ("test", &self.test)] {
            split.check(self.kind, self.class_names.len()).map_err(|reason| format!("{name}: {reason}"))?;
        }
        match (self.train.side(), self.test.side()) {
            (train, test) if train != test => {
                Err(format!("images of {train} px in train and of {test} px in test"))
            }
            _ => Ok(()),
        }
    }
}

impl Split {
    /// Checks that the split is consistent. The error says what is wrong.
    fn check(&self, kind: SetKind, classes: usize) -> std::result::Result<(), String> {
        let count = self.len();
        let &[images, height, width, channels] = self.images.shape() else {
            unreachable!("Array4 has four axes")
        };
        if count == 0 || images != count {
            return Err(format!("{images} images and {count} labels"));
        }
        if height != width || height == 0 || channels != 3 {
            return Err(format!("images of {height} x {width} x {channels}, expected square RGB images"));
        }
        if let Some(image) = self.labels.iter().position(|&label| label < 0 || label as usize >= classes) {
            return Err(format!(
                "image {image} has label {}, expected 0 to {}",
                self.labels[image],
                classes - 1
            ));
        }
        match (&self.scene, kind) {
            (None, SetKind::Photographs) => Ok(()),
            (Some(scene), SetKind::Renders) => scene.check(count),
            (scene, kind) => {
                let has = if scene.is_some() { "has" } else { "lacks" };
                Err(format!("a set of {} that {has} scene latents", kind.name()))
            }
        }
    }

    /// The contents of this split in a pack.
    fn pack_contents<'a>(&'a self, name: &'a str) -> SplitContents<'a> {
        let (labels, scene, images) = (&self.labels, self.scene.as_ref(), self.payload());
        SplitContents { name, labels, names: None, scene, images, masks: None }
    }

    /// The images of this split in a pack.
    fn payload(&self) -> Payload<'_> {
        let images = self.images.as_standard_layout();
        let bytes = images.len() / self.len();
        let pixels = images.as_slice().expect("standard layout");
        Payload {
            storage: Storage::Pixels { height: self.side(), width: self.images.len_of(Axis(2)), channels: 3 },
            checksums: pack::blake3_rows(pixels.par_chunks_exact(bytes)),
            write: Box::new(move |to| to.write_all(images.as_slice().expect("standard layout"))),
        }
    }

    /// Number of images in the split.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the split has no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Side of the (square) images in pixels.
    pub fn side(&self) -> usize {
        self.images.shape()[1]
    }

    /// Number of units per training epoch: objects for renders, images for photographs.
    pub fn units(&self) -> usize {
        self.scene.as_ref().map_or(self.len(), |scene| self.len() / scene.views)
    }
}

impl Pack {
    /// Reads the training and test splits into memory.
    ///
    /// # Errors
    /// [`Error::Format`] if a split is missing; the errors of [`PackedSplit::load`].
    pub fn load(&self) -> Result<Dataset> {
        let split = |name| self.expect_split(name)?.load();
        Ok(Dataset {
            name: self.name.clone(),
            kind: self.kind,
            class_names: self.class_names.clone(),
            mean: self.mean,
            std: self.std,
            train: split("train")?,
            test: split("test")?,
            provenance: self.provenance.clone(),
        })
    }
}

impl PackedSplit {
    /// Reads all images and labels into memory.
    ///
    /// # Errors
    /// [`Error::Format`] if the images are not squares of one size or cannot be decoded.
    pub fn load(&self) -> Result<Split> {
        let Some(side) = self.side() else {
            let reason = format!(
                "the {} images are not squares of one size\nhint: pack them with --side N",
                self.name
            );
            return Err(self.error(reason));
        };
        let mut images = Array4::zeros((self.len(), side, side, 3));
        let pixels = images.as_slice_mut().expect("a new array has standard layout");
        if self.is_decoded() {
            self.read_arrays(pixels)?;
        } else {
            let all = pixels.par_chunks_exact_mut(side * side * 3).enumerate();
            all.try_for_each(|(index, to)| {
                self.image(index).map(|image| to.copy_from_slice(image.as_raw()))
            })?;
        }
        Ok(Split { images, labels: self.labels.clone(), scene: self.scene.clone() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn split(side: usize) -> Split {
        Split { images: Array4::zeros((2, side, side, 3)), labels: vec![0, 1], scene: None }
    }

    fn dataset() -> Dataset {
        Dataset {
            name: "tiny".into(),
            kind: SetKind::Photographs,
            class_names: vec!["a".into(), "b".into()],
            mean: [0.5; 3],
            std: [0.2; 3],
            train: split(4),
            test: split(4),
            provenance: serde_json::Value::Null,
        }
    }

    #[test]
    fn inconsistent_sets_are_refused_with_the_reason() {
        assert_eq!(dataset().check(), Ok(()));
        let reason = |change: &dyn Fn(&mut Dataset)| {
            let mut set = dataset();
            change(&mut set);
            set.check().unwrap_err()
        };
        assert!(reason(&|set| set.std[1] = 0.0).contains("std above 0"));
        assert!(reason(&|set| set.test = split(5)).contains("4 px in train and of 5 px in test"));
        assert!(reason(&|set| set.train.labels = vec![0]).contains("train: 2 images and 1 labels"));
        assert!(reason(&|set| set.test.labels[1] = 2).contains("test: image 1 has label 2, expected 0 to 1"));
        assert!(reason(&|set| set.kind = SetKind::Renders).contains("renders that lacks scene latents"));
        assert!(reason(&|set| set.class_names.clear()).contains("no class names"));
    }

    #[test]
    fn statistics_are_those_of_each_channel() {
        let images =
            Array4::from_shape_fn((1, 2, 2, 3), |(_, y, _, c)| if c == 0 { y as u8 * 255 } else { 51 });
        let (mean, std) = channel_statistics(&images);
        assert_eq!(mean, [0.5, 0.2, 0.2]);
        assert!((std[0] - 0.5).abs() < 1e-6 && std[1] < 1e-5, "{std:?}");
    }
}
