//! Segmentation with a frozen encoder (protocol section 6): a head is trained on the training scenes and
//! scored on the test scenes, on any number of ranks.

use std::path::Path;

use eqr_datasets::Pack;
use eqr_datasets::show::{evenly_spaced, predictions_png};
use eqr_models::Collective;
use eqr_probes::Result;
use eqr_probes::bootstrap::Resampled;
use eqr_probes::confusion::{Confusion, SegmentationScore};
use eqr_probes::hypernet::HyperNet;
use eqr_probes::scene_pixels::{ScenePixels, SegmentationDraws};
use eqr_probes::scenes::Scenes;
use eqr_probes::segmentation_head::{Encoder, Evaluated, SegmentConfig, evaluate, predict, train};
use image::GrayImage;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::cluster::watchdog::TrainingWatch;
use crate::console::{Progress, say};
use crate::data::scenes::{PackScenes, VOID, class_count};
use crate::registry::{AACC, CLASS_ACCURACY, CLASS_IOU, MACC, MIOU, Measure};
use crate::run_folder::metric::{MeasuredValue, ResampledMetric};

/// Maximum number of points of a loss curve.
const POINTS: usize = 50;

/// Approximate number of loss lines printed per training.
const LINES: usize = 10;

/// The scenes of a pack. Masks hold the classes 0..`classes` and [`VOID`].
pub struct SegmentationScenes<'a> {
    /// Scenes that the head is trained on.
    pub train: PackScenes<'a>,
    /// Scenes that it is scored on.
    pub test: PackScenes<'a>,
    /// Number of classes, at least 2.
    pub classes: i64,
}

impl<'a> SegmentationScenes<'a> {
    /// Opens both splits. `normalise` turns pixels (3, H, W) in [0, 1] into the encoder's input.
    ///
    /// # Errors
    /// A pack with one class, a split that is missing or has no masks, masks without any class, images that
    /// cannot be read.
    pub fn open(
        pack: &'a Pack,
        normalise: &'a dyn Fn(&Tensor) -> Tensor,
        device: Device,
    ) -> anyhow::Result<SegmentationScenes<'a>> {
        let open = |split| PackScenes::open(pack, split, normalise, device);
        Ok(SegmentationScenes { train: open("train")?, test: open("test")?, classes: class_count(pack)? })
    }
}

/// A trained head and its scores.
pub struct Segmented {
    /// The head.
    pub head: HyperNet,
    /// Confusion matrix of all test scenes, summed over the ranks.
    pub confusion: Confusion,
    /// Pixels of every test scene.
    pub scenes: ScenePixels,
    /// Loss against steps.
    pub curve: Vec<LossPoint>,
}

/// Mean loss of the steps since the last point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// The last of these steps, counted from 1.
    pub step: usize,
    /// Mean cross-entropy per pixel that is not void.
    pub loss: f64,
}

/// Trains a head with `seed` on the training scenes and scores it on the test scenes. Every rank returns the
/// same result.
///
/// # Errors
/// Those of [`train`] and [`evaluate`]. Only one rank knows of an error in a scene.
pub fn segment(
    encoder: &dyn Encoder,
    scenes: &SegmentationScenes,
    seed: u64,
    config: &SegmentConfig,
    ranks: &dyn Collective,
) -> Result<Segmented> {
    let classes = (scenes.classes, VOID);
    let mut curve = LossCurve::new(config.steps);
    let progress = Progress::new(&format!("segmentation head of seed {seed}, steps"));
    let mut watch = TrainingWatch::begin();
    let mut tick = |step: usize, loss: f64| {
        watch.step_done();
        progress.at(step as u64 + 1, config.steps as u64);
        if let Some(point) = curve.add(loss).filter(|point| is_printed(point.step, config.steps)) {
            say(&format!("seed {seed}, step {}/{}: loss {:.4}", point.step, config.steps, point.loss));
        }
    };
    let head = train(encoder, &scenes.train, classes, seed, config, ranks, &mut tick)?;
    progress.finish();
    // scenes differ in size, and so do the times of the ranks
    drop(watch);
    let progress = Progress::new(&format!("segmentation of seed {seed}, test scenes"));
    let mut tick = |done: usize, all: usize| progress.at(done as u64, all as u64);
    let Evaluated { confusion, scenes } =
        evaluate(encoder, &head, &scenes.test, classes, config, ranks, &mut tick)?;
    progress.finish();
    Ok(Segmented { head, confusion, scenes, curve: curve.points })
}

/// The scores of the head with `seed`, then the scores of every class that has any.
pub fn values(score: &SegmentationScore, class_names: &[String], seed: u64) -> Vec<MeasuredValue> {
    let all = [(MIOU, score.miou), (MACC, score.macc), (AACC, score.aacc)];
    let all = all.into_iter().map(|(measure, value)| measure.value(Some(seed), value));
    let classes = score.classes.iter().zip(class_names).flat_map(|(class, name)| {
        [(CLASS_IOU, class.iou), (CLASS_ACCURACY, class.accuracy)]
            .into_iter()
            .filter_map(move |(measure, value)| Some(measure.value_of(name, Some(seed), value?)))
    });
    all.chain(classes).collect()
}

/// The draws of a bootstrap over the test scenes, for mIoU, mAcc and aAcc of a head.
pub fn resampled(scenes: &ScenePixels) -> Vec<ResampledMetric> {
    let Some(SegmentationDraws { miou, macc, aacc }) = scenes.resample() else { return Vec::new() };
    let of = |(measure, draws): (Measure, &Resampled)| {
        ResampledMetric::new(measure.family.name(), measure.metric, draws)
    };
    [(MIOU, &miou), (MACC, &macc), (AACC, &aacc)].map(of).into()
}

/// Draws `count` scenes, spread over `scenes`, which is a split of `pack`. Each scene is drawn beside its
/// mask and the prediction of `head`.
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
    let predictions = evenly_spaced(scenes.split(), count)
        .into_iter()
        .map(predicted)
        .collect::<anyhow::Result<Vec<_>>>()?;
    predictions_png(pack, scenes.split(), &predictions, path)?;
    Ok(())
}

/// Converts a head's classes (H, W) to the class ids of a pack's masks.
fn as_mask(classes: &Tensor) -> anyhow::Result<GrayImage> {
    let (height, width) = classes.size2()?;
    let ids = (classes - VOID).to_kind(Kind::Uint8).to_device(Device::Cpu).reshape([-1]);
    let mask = GrayImage::from_raw(width as u32, height as u32, Vec::try_from(ids)?);
    Ok(mask.expect("a byte a pixel"))
}

/// Whether the point at `step` is printed. About [`LINES`] points are.
fn is_printed(step: usize, steps: usize) -> bool {
    let line = |step: usize| step * LINES / steps;
    step == steps || line(step) > line(step.saturating_sub(steps.div_ceil(POINTS)))
}

/// The loss against steps. Each point is the mean over the same number of steps.
struct LossCurve {
    points: Vec<LossPoint>,
    steps: usize,
    /// Steps per point.
    stretch: usize,
    /// Losses since the last point.
    losses: Vec<f64>,
    done: usize,
}

impl LossCurve {
    fn new(steps: usize) -> LossCurve {
        LossCurve {
            points: Vec::new(),
            steps,
            stretch: steps.div_ceil(POINTS).max(1),
            losses: Vec::new(),
            done: 0,
        }
    }

    /// Adds the loss of a step. Returns a point if the step completes one.
    fn add(&mut self, loss: f64) -> Option<LossPoint> {
        self.losses.push(loss);
        self.done += 1;
        if self.losses.len() < self.stretch && self.done < self.steps {
            return None;
        }
        let point =
            LossPoint { step: self.done, loss: self.losses.iter().sum::<f64>() / self.losses.len() as f64 };
        self.losses.clear();
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
            let mut curve = LossCurve::new(steps);
            for step in 0..steps {
                curve.add(step as f64);
            }
            assert!(curve.points.len() <= POINTS && curve.points.last().unwrap().step == steps, "{steps}");
            let lines = curve.points.iter().filter(|point| is_printed(point.step, steps)).count();
            assert!((1..=LINES + 1).contains(&lines), "{steps}: {lines}");
        }
        let mut curve = LossCurve::new(101);
        for step in 0..101 {
            curve.add(f64::from(step));
        }
        assert_eq!(curve.points[0], LossPoint { step: 3, loss: 1.0 });
        assert_eq!(curve.points.last(), Some(&LossPoint { step: 101, loss: 99.5 }));
    }
}
