//! Top-1 of a linear classifier that reads the data set's own classes from y.

use anyhow::Result;
use eqr_datasets::SetKind;
use eqr_probes::linear_classification::{LabelledFeatures, classify_with_progress};
use tch::Tensor;

use crate::console::with_progress;
use crate::data::pairs::PairSource;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::{Evaluation, encode_y};
use crate::registry::{TOP1, TaskFamily};
use crate::run_folder::metric::MeasuredValue;
use crate::suite_file::probe::Probe;

/// Top-1 on all test images, one value per probe seed.
pub(super) fn measure(evaluation: &Evaluation, encoder: &dyn FeatureEncoder) -> Result<Vec<MeasuredValue>> {
    let Evaluation { pack, train, test, .. } = *evaluation;
    let labels = |source: &PairSource, images: &[usize]| {
        Tensor::from_slice(&images.iter().map(|&i| source.labels()[i]).collect::<Vec<_>>())
    };
    let train_images = match pack.kind {
        SetKind::Renders => train.indices(),
        SetKind::Photographs => evaluation.train_photographs(),
    };
    let test_images: Vec<usize> = (0..test.len()).collect();
    let train_x = encode_y(encoder, train, &train_images)?;
    let device = train_x.device();
    let features = LabelledFeatures {
        name: TaskFamily::Classification.name().into(),
        train_x,
        train_y: labels(train, &train_images).to_device(device),
        test_x: encode_y(encoder, test, &test_images)?,
        test_y: labels(test, &test_images).to_device(device),
        views: train.views(),
        classes: pack.class_names.len(),
    };
    measure_features(&features, evaluation.probe)
}

/// Top-1 of labelled features, one value per probe seed.
pub(super) fn measure_features(features: &LabelledFeatures, probe: &Probe) -> Result<Vec<MeasuredValue>> {
    let seeds: Vec<u64> = (0..probe.seeds).collect();
    let scores = with_progress("classification, epochs", |tick| {
        classify_with_progress(features, &seeds, &probe.classification, tick)
    })?;
    Ok(seeds.iter().zip(scores).map(|(&seed, score)| TOP1.value(Some(seed), score.test)).collect())
}
