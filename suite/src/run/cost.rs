//! What the cells of a suite cost: matrix products, memory, disk. Derived from the very networks that would be trained.
//!
//! FLOPs are those of `perf train`: matrix products only, backward = 2 x forward. A probe's are the encoder's passes over its pairs and the
//! multilayer perceptrons on y and on `grid`; a transfer's and a segmentation's the encoder's passes alone (training crops, and the test scenes
//! as windows of unknown number are left out), as heads and logistic regression are small beside them.

use anyhow::Result;
use eqr_datasets::{Kind, known_count};
use eqr_models::methods::build;
use eqr_models::vit::VitConfig;
use eqr_models::{Compute, MethodKind, ModelConfig, Registry};

use crate::encoder::network::suite_model;
use crate::suite_file::course::TrainingSteps;
use crate::suite_file::downstream_sets::SegmentationSet;
use crate::suite_file::plan::EncoderRun;
use crate::suite_file::suite::{Probe, Suite};

/// What is known of a data set before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSetSize {
    /// Photographs or renders.
    pub kind: Kind,
    /// Side of the images that the network sees.
    pub side: usize,
    /// Objects or images of the training split; none where it is not known.
    pub units: Option<usize>,
    /// Classes.
    pub classes: usize,
}

/// What a training takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Steps, where the size of the set is known.
    pub steps: Option<u64>,
    /// FLOPs of one step.
    pub step_flops: f64,
    /// Parameters.
    pub parameters: i64,
    /// Estimated bytes on each of so many devices as [`training`] was asked for.
    pub memory: f64,
    /// Bytes of the checkpoints that stay.
    pub disk: f64,
}

impl Training {
    /// FLOPs of all steps.
    pub fn flops(&self) -> Option<f64> {
        Some(self.steps? as f64 * self.step_flops)
    }
}

/// Bytes of a parameter: fp32 master, gradient and two moments.
const BYTES_OF_STATE: f64 = 16.0;

/// The two newest checkpoints stay: parameters and two moments in fp32.
const BYTES_OF_CHECKPOINTS: f64 = 2.0 * 12.0;

/// What the training of `entry` takes, its batch shared by `devices` and encoded `micro_batch` pairs at a time, if that is given.
///
/// # Errors
/// A network that cannot be built.
pub fn training(
    suite: &Suite,
    entry: &EncoderRun,
    extent: &DataSetSize,
    compute: Compute,
    devices: usize,
    micro_batch: Option<i64>,
) -> Result<Training> {
    let config = suite_model(suite, extent.kind, extent.side as i64, extent.classes as i64);
    let mut registry = Registry::default();
    let model = build(&entry.row.kind, &config, &mut registry)?;
    let parameters = registry.count();
    let known = if entry.row.kind.needs_targets() { suite.train.known_fraction.unwrap_or(1.0) } else { 1.0 };
    let course = |units| TrainingSteps::new(suite, entry.row.budget, known_count(units, known), units);
    let steps = extent.units.map(|units| course(units).total());
    let pairs = suite.train.batch.div_ceil(devices) as i64;
    let at_a_time = micro_batch.map_or(pairs, |micro| micro.min(pairs));
    Ok(Training {
        steps,
        step_flops: model.step_flops(suite.train.batch as i64),
        parameters,
        memory: state_bytes(parameters, compute) + at_a_time as f64 * pair_bytes(&config, &entry.row.kind, compute),
        disk: parameters as f64 * BYTES_OF_CHECKPOINTS,
    })
}

/// In bf16 a copy of the parameters stands beside their fp32 masters.
fn state_bytes(parameters: i64, compute: Compute) -> f64 {
    parameters as f64 * (BYTES_OF_STATE + if compute == Compute::Bf16 { 2.0 } else { 0.0 })
}

/// Activations of a pair that the backward pass needs, after Korthikanti et al. 2022, section 4.1: 34 s d + 5 a s^2 bytes a block in half precision
/// for s tokens of width d and a heads. A decoder's blocks attend to s tokens of the other view.
fn pair_bytes(config: &ModelConfig, kind: &MethodKind, compute: Compute) -> f64 {
    let VitConfig { dim, depth, heads, .. } = config.encoder;
    // the patches and the class token
    let tokens = ((config.encoder.image / config.encoder.patch).pow(2) + 1) as f64;
    let block = |width: i64, heads: i64| 34.0 * tokens * width as f64 + 5.0 * heads as f64 * tokens * tokens;
    let encoder = 2.0 * depth as f64 * block(dim, heads);
    let reconstructs = matches!(kind, MethodKind::Ours { reconstruction: true, .. });
    let decoder = &config.decoder;
    let decoder = if reconstructs { decoder.depth as f64 * block(decoder.dim, decoder.heads) } else { 0.0 };
    (encoder + decoder) * if compute == Compute::Bf16 { 1.0 } else { 2.0 }
}

/// FLOPs of a row's probes: both views of every pair of every transform through the encoder, then the perceptrons on y (2 out) and on y with the
/// quadrant means (2 (out + 4 dim)).
pub fn probes(suite: &Suite, extent: &DataSetSize) -> f64 {
    let config = suite_model(suite, extent.kind, extent.side as i64, extent.classes as i64);
    let Probe { seeds, train_pairs, test_pairs, regression, .. } = &suite.probe;
    // renders are one set of pairs for all their parameters
    let sets =
        if extent.kind == Kind::Renders { 1 } else { config.transforms.len() + usize::from(suite.probe.combined) };
    let passes = 2.0 * (train_pairs + test_pairs) as f64 * sets as f64 * config.encoder.forward_flops();
    let hidden = regression.hidden as f64;
    let perceptron = |inputs: f64, outputs: f64| 2.0 * (inputs * hidden + hidden * hidden + hidden * outputs);
    let (y, grid) = (2.0 * config.encoder.out as f64, 2.0 * (config.encoder.out + 4 * config.encoder.dim) as f64);
    let shown = 3.0 * (regression.epochs * train_pairs) as f64 * *seeds as f64;
    let of_task =
        |(_, outputs): &(String, i64)| shown * (perceptron(y, *outputs as f64) + perceptron(grid, *outputs as f64));
    passes + config.transforms.iter().map(of_task).sum::<f64>()
}

/// FLOPs of the encoder over `images` of another set.
pub fn transfer(suite: &Suite, extent: &DataSetSize, images: usize) -> f64 {
    let config = suite_model(suite, extent.kind, extent.side as i64, extent.classes as i64);
    images as f64 * config.encoder.forward_flops()
}

/// FLOPs of the encoder over the crops that a head is trained on.
pub fn segmentation(suite: &Suite, extent: &DataSetSize, set: &SegmentationSet) -> f64 {
    let config = suite_model(suite, extent.kind, set.head.crop, extent.classes as i64);
    (set.head.steps * set.head.batch) as f64 * config.encoder.forward_flops()
}
