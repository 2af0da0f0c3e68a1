//! Calibration: what the probes of this suite read of encoders whose attainable R2 is known in closed form
//! ([`Plant`]).
//!
//! `planted_encoder` is an encoder like any other: it sees the images of a pack, and its features go through
//! the same pairs, probes and intervals. `stand_ins` are the objects that it confuses.

#[cfg(test)]
mod closed_form;
mod planted_encoder;
mod stand_ins;

use anyhow::Result;
use eqr_probes::bootstrap::Resampled;
use eqr_probes::stats::Summary;

use crate::console::counted;
use crate::measure::evaluation::Evaluation;
use crate::measure::regression;
use crate::run_folder::calibration::Calibration;
use crate::run_folder::metric::MeasuredValues;
use crate::suite_file::plant::Plant;
pub use planted_encoder::KnownImages;
use planted_encoder::PlantedEncoder;

/// Calibrates the probes of `evaluation` with all plants, in encoders of `features` columns, at least
/// [`CARRIED`](crate::suite_file::plant::CARRIED).
///
/// # Errors
/// As [`KnownImages::of`] and [`measure_plant`].
pub fn measure(evaluation: &Evaluation, features: usize) -> Result<Calibration> {
    let known = KnownImages::of(evaluation)?;
    let all: Vec<(Plant, u64)> =
        Plant::all().into_iter().flat_map(|plant| plant.seeds().map(move |seed| (plant, seed))).collect();
    let encoders = counted("planted encoders", all.into_iter());
    let measured =
        encoders.map(|(plant, seed)| Ok((plant, measure_plant(evaluation, &known, plant, seed, features)?)));
    let measured: Vec<(Plant, MeasuredValues)> = measured.collect::<Result<_>>()?;
    let of =
        |plant: Plant| measured.iter().filter(move |(other, _)| *other == plant).map(|(_, values)| values);
    let tasks: Vec<String> = evaluation.tasks().into_iter().map(|task| task.name).collect();
    let values = |plant: Plant, task: &str, metric: &str| {
        let mean = |measured: &MeasuredValues| {
            let seeds = measured.values.iter().filter(|value| value.task == task && value.metric == metric);
            Summary::from_values(&seeds.map(|value| value.value).collect::<Vec<_>>()).ok()
        };
        of(plant).filter_map(mean).map(|summary| summary.mean).collect()
    };
    let draws = |plant: Plant, task: &str, metric: &str| {
        let mut draws = of(plant).next()?.resampled.iter();
        let draws = draws.find(|draws| draws.task == task && draws.metric == metric)?;
        Resampled::from_values(draws.values.clone())
    };
    Ok(Calibration::new(&tasks, values, draws))
}

/// The headline values of the probes that read a planted encoder of `features` columns, with their draws.
/// `seed` is one of the plant's.
///
/// # Errors
/// Images that cannot be read, a probe that diverged.
pub fn measure_plant(
    evaluation: &Evaluation,
    known: &KnownImages,
    plant: Plant,
    seed: u64,
    features: usize,
) -> Result<MeasuredValues> {
    tch::no_grad(|| {
        let encoder = PlantedEncoder::new(known, plant, seed, features);
        let mut sets = evaluation.pair_sets(&encoder, false)?;
        sets.retain(|set| plant.carries(&set.task));
        regression::measure_headlines(&sets, evaluation.probe)
    })
}
