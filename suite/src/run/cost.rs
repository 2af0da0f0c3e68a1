//! Costs of a suite's cells: matrix products, memory and disk. The networks that would be trained are built
//! and counted.
//!
//! FLOPs are counted as in `perf train`: matrix products only, backward = 2 x forward. A probe cell counts
//! the encoder's passes over its pairs, and the multilayer perceptrons on y, its halves and `grid`; an X-ray
//! also those that read every layer. A transfer or segmentation cell counts only the encoder's passes, since
//! heads and logistic regression are small in comparison. The windows of the test scenes are left out,
//! because their number is unknown.

use anyhow::Result;
use eqr_datasets::{SetKind, known_image_count};
use eqr_models::methods::build;
use eqr_models::vit::VitConfig;
use eqr_models::{Compute, MethodKind, ModelConfig, Registry};

use crate::encoder::network::model_config_for;
use crate::encoder::pixel_pca::pixel_count;
use crate::run::data_set_size::DataSetSize;
use crate::run::measurements::{MeasuredRow, Measurement, MeasurementKind};
use crate::suite_file::downstream_sets::SegmentationSet;
use crate::suite_file::plan::EncoderRun;
use crate::suite_file::plant::Plant;
use crate::suite_file::probe::{Probe, ReadoutHalf};
use crate::suite_file::suite::Suite;
use crate::suite_file::training_steps::TrainingSteps;
use crate::suite_file::xray::XraySettings;

/// The cost of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrainingCost {
    /// Number of steps, if the size of the set is known.
    pub(super) steps: Option<u64>,
    /// FLOPs of one step.
    pub(super) step_flops: f64,
    /// Number of parameters.
    pub(super) parameters: i64,
    /// Estimated bytes on each device.
    pub(super) memory: f64,
    /// Bytes of the checkpoints that are kept.
    pub(super) disk: f64,
}

impl TrainingCost {
    /// FLOPs of all steps.
    pub(super) fn flops(&self) -> Option<f64> {
        Some(self.steps? as f64 * self.step_flops)
    }
}

/// Bytes per parameter: fp32 master copy, gradient and two moments.
const STATE_BYTES: f64 = 16.0;

/// Bytes per parameter on disk: the two newest checkpoints, each with parameters and two moments in fp32.
const CHECKPOINT_BYTES: f64 = 2.0 * 12.0;

/// The cost of training `run` with its batch shared by `devices`. Each device encodes `micro_batch` pairs at
/// a time, or its whole share of the batch.
///
/// # Errors
/// A network that cannot be built.
pub(super) fn training(
    suite: &Suite,
    run: &EncoderRun,
    size: &DataSetSize,
    compute: Compute,
    devices: usize,
    micro_batch: Option<i64>,
) -> Result<TrainingCost> {
    let config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    let mut registry = Registry::default();
    let model = build(&run.row.kind, &config, &mut registry)?;
    let parameters = registry.count();
    let fraction =
        if run.row.kind.trains_on_known_units() { suite.train.known_fraction.unwrap_or(1.0) } else { 1.0 };
    let schedule = |units| TrainingSteps::new(suite, &run.row, known_image_count(units, fraction), units);
    let steps = size.units.map(|units| schedule(units).total());
    let pairs = suite.train.batch.div_ceil(devices) as i64;
    let at_a_time = micro_batch.map_or(pairs, |micro| micro.min(pairs));
    Ok(TrainingCost {
        steps,
        step_flops: model.step_flops(suite.train.batch as i64),
        parameters,
        memory: state_bytes(parameters, compute)
            + at_a_time as f64 * pair_bytes(&config, &run.row.kind, compute, suite.train.recompute),
        disk: parameters as f64 * CHECKPOINT_BYTES,
    })
}

/// Bytes of the parameters with their gradients and moments; in bf16 also of a bf16 copy.
fn state_bytes(parameters: i64, compute: Compute) -> f64 {
    parameters as f64 * (STATE_BYTES + if compute == Compute::Bf16 { 2.0 } else { 0.0 })
}

/// Activations of one pair that the backward pass needs (Korthikanti et al. 2022, section 4.1): 34 s d + 5 a
/// s^2 bytes per block in half precision, for s tokens of width d and a heads. The decoder's blocks attend to
/// s tokens of the other view. With `recompute`, blocks of the encoder keep their inputs (2 s d bytes), and
/// one block at a time has its activations.
fn pair_bytes(config: &ModelConfig, kind: &MethodKind, compute: Compute, recompute: bool) -> f64 {
    let VitConfig { dim, depth, heads, .. } = config.encoder;
    // the patches and the class token
    let tokens = ((config.encoder.image / config.encoder.patch).pow(2) + 1) as f64;
    let block = |width: i64, heads: i64| 34.0 * tokens * width as f64 + 5.0 * heads as f64 * tokens * tokens;
    let views = if kind.takes_other_view1() { 3.0 } else { 2.0 };
    let blocks = depth as f64;
    let encoder = views
        * match recompute {
            true => blocks * 2.0 * tokens * dim as f64 + block(dim, heads),
            false => blocks * block(dim, heads),
        };
    let decoder = &config.decoder;
    let decoder =
        if kind.reconstructs() { decoder.depth as f64 * block(decoder.dim, decoder.heads) } else { 0.0 };
    (encoder + decoder) * if compute == Compute::Bf16 { 1.0 } else { 2.0 }
}

/// FLOPs of a measurement of a row of `suite`, which is trained on data of `size`; `None` if they are not
/// known, as those of encoders from files. `transfer_images` has the number of images of each transfer set,
/// if it is known.
pub(super) fn measurement(
    suite: &Suite,
    size: &DataSetSize,
    transfer_images: &[Option<usize>],
    Measurement { row, kind, .. }: &Measurement,
) -> Option<f64> {
    let run = match row {
        MeasuredRow::External(_) => return None,
        MeasuredRow::Planted { plant, .. } => return Some(planted(suite, size, *plant)),
        MeasuredRow::Trained(run) => &run.row.kind,
    };
    match *kind {
        MeasurementKind::Probe { step: None } => Some(probes(suite, &suite.probe, size, run)),
        MeasurementKind::Probe { step: Some(_) } => Some(curve_point(suite, size, run)),
        MeasurementKind::Transfer { set } => {
            transfer_images[set].map(|images| transfer(suite, size, run, images))
        }
        MeasurementKind::Xray => suite.xray.as_ref().map(|settings| xray(suite, size, run, settings)),
        MeasurementKind::Segment { set, .. } => Some(segmentation(suite, size, &suite.segmentation[set])),
    }
}

/// FLOPs of the probes at a point of the curve: one seed of them.
fn curve_point(suite: &Suite, size: &DataSetSize, kind: &MethodKind) -> f64 {
    let probe = Probe { seeds: 1, combined: false, shift: None, attentive: false, ..suite.probe.clone() };
    probes(suite, &probe, size, kind)
}

/// FLOPs of a row's probes: the encoder on both views of every pair of every transform, then the perceptrons
/// on y (2 out), on each of its halves (out) and on y with the quadrant means (2 (out + 4 dim)).
fn probes(suite: &Suite, probe: &Probe, size: &DataSetSize, kind: &MethodKind) -> f64 {
    let config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    let Probe { train_pairs, test_pairs, parts, combined, shift, .. } = probe;
    // renders have one set of pairs for all their parameters
    let photographs = size.kind == SetKind::Photographs;
    let combined = usize::from(photographs && *combined);
    let sets = if photographs { config.transforms.len() + combined } else { 1 };
    // their first views are those of the ordinary test pairs
    let shifted = test_pairs * shift.map_or(0, |shift| shift.transforms().count());
    let views = 2 * (train_pairs + test_pairs) * sets + shifted;
    let passes = views as f64 * encoder_flops(kind, &config);
    let VitConfig { out, dim, .. } = config.encoder;
    let half = |part: &ReadoutHalf| if *part == ReadoutHalf::All { 2 * out } else { out };
    let inputs: Vec<i64> = match kind {
        MethodKind::PixelPca { components } => vec![2 * i64::from(*components)],
        _ => parts.iter().map(half).chain([2 * (out + 4 * dim)]).collect(),
    };
    let attentive = match probe.attentive && kind.has_network() {
        true => passes + attentive(probe, &config),
        false => 0.0,
    };
    passes + (1 + combined) as f64 * perceptrons(probe, &inputs, &config.transforms) + attentive
}

/// FLOPs of training attentive probes: for each pair, token and channel of two views, twelve heads take four
/// products of two operations, and the perceptrons read what is pooled. The tokens are encoded once more.
fn attentive(probe: &Probe, config: &ModelConfig) -> f64 {
    let VitConfig { image, patch, dim, .. } = config.encoder;
    let values = ((image / patch).pow(2) + 1) * dim;
    let rows = (probe.regression.epochs * probe.train_pairs) as f64 * probe.seeds as f64;
    let pooling = 2.0 * 12.0 * 4.0 * 2.0 * rows * values as f64 * config.transforms.len() as f64;
    pooling + perceptrons(probe, &[2 * dim], &config.transforms)
}

/// FLOPs of an X-ray: the encoder on the images, and what reads every layer: the class token, the mean and
/// the quadrant means of a block (width, width, 4 widths) and of both views. The products of a ridge
/// regression are those of its Gram matrix.
fn xray(suite: &Suite, size: &DataSetSize, kind: &MethodKind, settings: &XraySettings) -> f64 {
    let config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    let XraySettings { train_pairs, test_pairs, probe, .. } = settings;
    let photographs = size.kind == SetKind::Photographs;
    let sets = if photographs { config.transforms.len() } else { 1 };
    // photographs: the first views once, then the second views of every transform and a step from those of
    // the test
    let images = match photographs {
        true => train_pairs + test_pairs + sets * (train_pairs + 2 * test_pairs),
        false => 2 * (train_pairs + test_pairs),
    };
    let VitConfig { out, dim, depth, .. } = config.encoder;
    let block = [dim, dim, 4 * dim];
    let blocks = std::iter::repeat_n(block, depth as usize + 1).flatten();
    let inputs: Vec<i64> = blocks.chain([4 * dim, out]).map(|width| 2 * width).collect();
    let gram = |input: &i64| 2.0 * *train_pairs as f64 * (*input as f64).powi(2);
    let ridge: f64 = inputs.iter().map(gram).sum::<f64>() * sets as f64;
    let of_probes = |wanted: bool, flops: f64| if wanted { flops } else { 0.0 };
    images as f64 * encoder_flops(kind, &config)
        + of_probes(probe.has_linear(), ridge)
        + of_probes(probe.has_mlp(), perceptrons(&settings.at_one_place(), &inputs, &config.transforms))
}

/// FLOPs of the perceptrons that read a planted encoder. What it costs to recognise images is left out.
fn planted(suite: &Suite, size: &DataSetSize, plant: Plant) -> f64 {
    let mut config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    config.transforms.retain(|(task, _)| plant.carries(task));
    perceptrons(&suite.probe, &[2 * config.encoder.out], &config.transforms)
}

/// FLOPs of training perceptrons of all seeds: for each of the tasks, with their numbers of outputs, one for
/// each length of `inputs`.
fn perceptrons(
    Probe { seeds, train_pairs, regression, .. }: &Probe,
    inputs: &[i64],
    tasks: &[(String, i64)],
) -> f64 {
    let hidden = regression.hidden as f64;
    let perceptron = |inputs: f64, outputs: f64| 2.0 * (inputs * hidden + hidden * hidden + hidden * outputs);
    let rows_trained_on = 3.0 * (regression.epochs * train_pairs) as f64 * *seeds as f64;
    let task = |(_, outputs): &(String, i64)| {
        rows_trained_on * inputs.iter().map(|&input| perceptron(input as f64, *outputs as f64)).sum::<f64>()
    };
    tasks.iter().map(task).sum()
}

/// FLOPs of the encoder on `images` images of another set.
fn transfer(suite: &Suite, size: &DataSetSize, kind: &MethodKind, images: usize) -> f64 {
    let config = model_config_for(suite, size.kind, size.side as i64, size.classes as i64);
    images as f64 * encoder_flops(kind, &config)
}

/// FLOPs of the encoder on one image. The fit of principal components is left out: it takes seconds.
fn encoder_flops(kind: &MethodKind, config: &ModelConfig) -> f64 {
    match kind {
        MethodKind::PixelPca { components } => {
            2.0 * pixel_count(config.encoder.image) as f64 * f64::from(*components)
        }
        _ => config.encoder.forward_flops(),
    }
}

/// FLOPs of the encoder on the crops that a head is trained on.
fn segmentation(suite: &Suite, size: &DataSetSize, set: &SegmentationSet) -> f64 {
    let config = model_config_for(suite, size.kind, set.head.crop, size.classes as i64);
    (set.head.steps * set.head.batch) as f64 * config.encoder.forward_flops()
}
