//! Segmentation with a frozen encoder (protocol section 6): a head is trained on scenes and scored on others, on any number of ranks.

use std::path::Path;

use eqr_datasets::Pack;
use eqr_datasets::show::{all_over, predictions_png};
use eqr_models::Collective;
use eqr_probes::Result;
use eqr_probes::hypernet::HyperNet;
use eqr_probes::scenes::Scenes;
use eqr_probes::segmentation_head::{Encoder, SegmentConfig, evaluate, predict, train};
use eqr_probes::confusion::Confusion;
use image::GrayImage;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::console::{Progress, say};
use crate::data::scenes::{PackScenes, VOID};

/// Points of a curve of losses, at most.
const POINTS: usize = 50;

/// Lines that say the loss of a training.
const LINES: usize = 10;

/// What is segmented by what.
pub struct Task<'a> {
    /// Makes the token maps.
    pub encoder: &'a dyn Encoder,
    /// What the head is trained on; masks hold 0..`classes` and [`VOID`].
    pub train: &'a dyn Scenes,
    /// What it is scored on.
    pub test: &'a dyn Scenes,
    /// Number of classes, at least 2.
    pub classes: i64,
}

/// A trained head and how it did.
pub struct Segmented {
    /// The head.
    pub head: HyperNet,
    /// Of all test scenes, summed over the ranks.
    pub confusion: Confusion,
    /// Loss against steps.
    pub curve: Vec<LossPoint>,
}

/// Mean loss of some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// The last of them, from 1.
    pub step: usize,
    /// Mean cross-entropy of a pixel that is not void.
    pub loss: f64,
}

/// Trains a head with `seed` on the training scenes and scores it on the test scenes. Every rank returns the same.
///
/// # Errors
/// [`train`]'s and [`evaluate`]'s; those of a scene are of one rank alone.
pub fn segment(task: &Task, seed: u64, config: &SegmentConfig, ranks: &dyn Collective) -> Result<Segmented> {
    let mut curve = Curve::new(config.steps);
    let progress = Progress::new(&format!("segmentation head of seed {seed}, steps"));
    let mut tick = |step: usize, loss: f64| {
        progress.at(step as u64 + 1, config.steps as u64);
        if let Some(point) = curve.add(loss).filter(|point| said(point.step, config.steps)) {
            say(&format!("seed {seed}, step {}/{}: loss {:.4}", point.step, config.steps, point.loss));
        }
    };
    let head = train(task.encoder, task.train, (task.classes, VOID), seed, config, ranks, &mut tick)?;
    progress.finish();
    let progress = Progress::new(&format!("segmentation of seed {seed}, test scenes"));
    let mut tick = |done: usize, all: usize| progress.at(done as u64, all as u64);
    let confusion = evaluate(task.encoder, &head, task.test, (task.classes, VOID), config, ranks, &mut tick)?;
    progress.finish();
    Ok(Segmented { head, confusion, curve: curve.points })
}

/// Draws `count` scenes from all over `scenes`, a split of `pack`, each beside its mask and what `head` predicts.
///
/// # Errors
/// Scenes that cannot be read, a picture that cannot be written.
pub fn draw(
    pack: &Pack,
    scenes: &PackScenes,
    (encoder, head): (&dyn Encoder, &HyperNet),
    config: &SegmentConfig,
    count: usize,
    path: &Path,
) -> anyhow::Result<()> {
    let predicted = |index: usize| {
        let (image, _) = scenes.scene(index).map_err(anyhow::Error::from_boxed)?;
        Ok((index, as_mask(&predict(encoder, head, &image, config)?)?))
    };
    let predictions = all_over(scenes.split(), count).into_iter().map(predicted).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(predictions_png(pack, scenes.split(), &predictions, path)?)
}

/// Class ids as a pack's masks have them, of classes (H, W) as a head has them.
fn as_mask(classes: &Tensor) -> anyhow::Result<GrayImage> {
    let (height, width) = classes.size2()?;
    let ids = (classes - VOID).to_kind(Kind::Uint8).to_device(tch::Device::Cpu).reshape([-1]);
    let mask = GrayImage::from_raw(width as u32, height as u32, Vec::try_from(ids)?);
    Ok(mask.expect("a byte a pixel"))
}

/// Whether the point that ends with `step` is worth a line.
fn said(step: usize, steps: usize) -> bool {
    let line = |step: usize| step * LINES / steps;
    step == steps || line(step) > line(step.saturating_sub(steps.div_ceil(POINTS)))
}

/// A curve that grows.
struct Curve {
    points: Vec<LossPoint>,
    /// Steps of a point.
    stretch: usize,
    steps: usize,
    /// Losses since the last point.
    open: Vec<f64>,
    done: usize,
}

impl Curve {
    fn new(steps: usize) -> Curve {
        Curve { points: Vec::new(), stretch: steps.div_ceil(POINTS).max(1), steps, open: Vec::new(), done: 0 }
    }

    /// Adds a step's loss; returns the point that it ends.
    fn add(&mut self, loss: f64) -> Option<LossPoint> {
        self.open.push(loss);
        self.done += 1;
        if self.open.len() < self.stretch && self.done < self.steps {
            return None;
        }
        let point = LossPoint { step: self.done, loss: self.open.iter().sum::<f64>() / self.open.len() as f64 };
        self.open.clear();
        self.points.push(point);
        Some(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_every_step_in_one_of_fifty_points_at_most() {
        for steps in [1, 20, 50, 51, 149, 40_000] {
            let mut curve = Curve::new(steps);
            for step in 0..steps {
                curve.add(step as f64);
            }
            assert!(curve.points.len() <= POINTS && curve.points.last().unwrap().step == steps, "{steps}");
            let lines = curve.points.iter().filter(|point| said(point.step, steps)).count();
            assert!((1..=LINES + 1).contains(&lines), "{steps}: {lines}");
        }
        let mut curve = Curve::new(101);
        for step in 0..101 {
            curve.add(f64::from(step));
        }
        assert_eq!(curve.points[0], LossPoint { step: 3, loss: 1.0 });
        assert_eq!(curve.points.last(), Some(&LossPoint { step: 101, loss: 99.5 }));
    }
}
