//! A probe cell: all measures of a frozen encoder on the suite's data set (protocol section 4).

use anyhow::{Result, ensure};
use tch::Device;

use crate::encoder::network::Network;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::Evaluation;
use crate::measure::feature_file::FeatureFile;
use crate::measure::pair_features::PairSet;
use crate::measure::{classification, exact_map, geometry, reconstruction, regression, retrieval};
use crate::run_folder::metric::{MeasuredValue, MeasuredValues};
use crate::suite_file::probe::Probe;
use crate::suite_file::tasks::EquivarianceTask;

/// A measure that applies to any encoder.
type EncoderMeasure = fn(&Evaluation, &dyn FeatureEncoder) -> Result<MeasuredValues>;

/// A measure that applies to networks trained by this program, with their heads.
type NetworkMeasure = fn(&Evaluation, &Network) -> Result<MeasuredValues>;

/// The measures of any encoder, in the order of the cell's values.
const ENCODER_MEASURES: [EncoderMeasure; 4] = [
    regression::measure,
    |evaluation, encoder| exact_map::measure(evaluation, encoder).map(Into::into),
    |evaluation, encoder| geometry::measure(evaluation, encoder).map(Into::into),
    |evaluation, encoder| classification::measure(evaluation, encoder).map(Into::into),
];

/// The additional measures of a network. Their values follow those of its encoder.
const NETWORK_MEASURES: [NetworkMeasure; 2] = [
    |evaluation, network| reconstruction::measure(evaluation, network).map(Into::into),
    |evaluation, network| retrieval::measure(evaluation, network).map(Into::into),
];

/// All values of an encoder.
///
/// # Errors
/// Images that cannot be read, an encoder that fails, features that are not finite.
pub fn measure_encoder(evaluation: &Evaluation, encoder: &dyn FeatureEncoder) -> Result<MeasuredValues> {
    tch::no_grad(|| all(ENCODER_MEASURES.iter().map(|measure| measure(evaluation, encoder))))
}

/// All values of a network: the values of its encoder, and those of its decoder or predictor.
///
/// # Errors
/// As [`measure_encoder`].
pub fn measure_network(evaluation: &Evaluation, network: &Network) -> Result<MeasuredValues> {
    let of_encoder = measure_encoder(evaluation, network);
    let rest = NETWORK_MEASURES.iter().map(|measure| tch::no_grad(|| measure(evaluation, network)));
    all([of_encoder].into_iter().chain(rest))
}

/// The values at one point of the curve of R2 against steps.
///
/// # Errors
/// As [`measure_encoder`].
pub fn measure_curve_point(evaluation: &Evaluation, network: &Network) -> Result<Vec<MeasuredValue>> {
    tch::no_grad(|| regression::measure_curve_point(evaluation, network))
}

/// The values of a feature file: R2 of the targets that are among `tasks`, and top-1 if the file holds
/// labelled features.
///
/// # Errors
/// A file without any of the tasks, errors of the reader, errors of the probes.
pub fn measure_features(
    file: &FeatureFile,
    tasks: &[EquivarianceTask],
    probe: &Probe,
    device: Device,
) -> Result<MeasuredValues> {
    let mut values = regression::measure_sets(&feature_sets(file, tasks, device)?, probe, true)?;
    if file.has_labelled() {
        values.extend(classification::measure_features(&file.classification(device)?, probe)?.into());
    }
    Ok(values)
}

/// The pairs of a feature file for those of its targets that are among `tasks`.
///
/// # Errors
/// A file without any of the tasks, errors of the reader.
pub fn feature_sets(file: &FeatureFile, tasks: &[EquivarianceTask], device: Device) -> Result<Vec<PairSet>> {
    let mut sets = file.pair_sets(device)?;
    let found: Vec<String> = sets.iter().map(|set| set.task.clone()).collect();
    sets.retain(|set| tasks.iter().any(|task| task.name == set.task));
    let names = tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
    let path = file.path().display();
    ensure!(!sets.is_empty(), "{path}: targets {}, expected some of {names}", found.join(", "));
    Ok(sets)
}

fn all(values: impl Iterator<Item = Result<MeasuredValues>>) -> Result<MeasuredValues> {
    let mut all = MeasuredValues::default();
    for values in values {
        all.extend(values?);
    }
    Ok(all)
}
