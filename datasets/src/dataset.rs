//! A small set held in memory: what a pack holds and what training and probes read.

use ndarray::{Array2, Array4};
use serde::{Deserialize, Serialize};

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

impl Split {
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
