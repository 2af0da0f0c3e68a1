//! A probe cell: probes of an encoder of this run, of an external encoder, or of a feature file.

use anyhow::{Context, Result};
use eqr_models::MethodKind;

use crate::console::say;
use crate::data::known_units::known_units;
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::pixel_pca::PixelPca;
use crate::measure::attentive::AttentiveProbes;
use crate::measure::calibration::{self, KnownImages};
use crate::measure::evaluation::Evaluation;
use crate::measure::exit_code::RunFile;
use crate::measure::feature_file::FeatureFile;
use crate::measure::tokens::TOKEN_MEMORY;
use crate::measure::{duration, pictures, probe, reconstruction};
use crate::run::context::RunContext;
use crate::run::encoders::{external_encoder, frozen, sources_of, trained_network};
use crate::run::measurements::{Measured, MeasuredRow};
use crate::run_folder::layout;
use crate::run_folder::metric::MeasuredValues;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::plan::EncoderRun;
use crate::suite_file::plant::Plant;
use crate::suite_file::probe::{Probe, ReadoutHalf};
use crate::suite_file::tasks::tasks;

/// Number of images drawn beside their reconstructions.
const PICTURES: usize = 8;

/// The values, and the number of steps that an encoder of this run was trained for.
pub(super) fn measure(context: &RunContext, row: &MeasuredRow, step: Option<u64>) -> Result<(Measured, u64)> {
    match row {
        MeasuredRow::Trained(run) => {
            let (values, steps) = measure_trained(context, run, step)?;
            Ok((Measured::without_file(values), steps))
        }
        MeasuredRow::External(row) => Ok((measure_external(context, row)?, 0)),
        MeasuredRow::Planted { plant, seed } => Ok((measure_planted(context, *plant, *seed)?, 0)),
    }
}

fn measure_trained(
    context: &RunContext,
    run: &EncoderRun,
    step: Option<u64>,
) -> Result<(MeasuredValues, u64)> {
    let suite = context.suite();
    let known = known_units(suite, &context.train, run.seed)?;
    let evaluation = Evaluation {
        transforms: &suite.transforms,
        probe: &suite.probe,
        pack: &context.prepared.data.pack,
        train: &known,
        test: &context.test,
        resamples: false,
    };
    if let MethodKind::PixelPca { components } = run.row.kind {
        let encoder = PixelPca::fit(&context.train, components, run.seed)?;
        let probe = without_halves(&suite.probe);
        let evaluation = Evaluation { probe: &probe, ..evaluation };
        return Ok((probe::measure_encoder(&evaluation, &encoder)?, 0));
    }
    let (network, trained_steps) = trained_network(context, run, step)?;
    if step.is_some() {
        return Ok((probe::measure_curve_point(&evaluation, &network)?.into(), trained_steps));
    }
    let mut values = probe::measure_network(&evaluation, &network)?;
    if suite.probe.attentive {
        let encoder = frozen(context, &network, context.prepared.data.side)?;
        values.extend(attentive(&evaluation, &encoder)?);
    }
    if run.seed == suite.first_seed
        && let Some(images) = reconstruction::pictures(&network, &context.test, PICTURES)?
    {
        let path = context.folder.path(layout::figure(&format!("reconstruction-{}", run.slug())));
        pictures::rows(&images, &path).context(RunFile("its picture"))?;
    }
    Ok((values, trained_steps))
}

fn measure_external(context: &RunContext, row: &ExternalRow) -> Result<Measured> {
    let (suite, data) = (context.suite(), &context.prepared.data);
    let probe = without_halves(&suite.probe);
    if let Some(path) = &row.features {
        let tasks = tasks(data.pack.kind, &suite.transforms);
        let features = FeatureFile::open(path)?;
        let values = probe::measure_features(&features, &tasks, &probe, context.worker.device)?;
        return Ok(Measured::without_file(values));
    }
    let encoder = external_encoder(context, row, Some(data.side))?;
    let [train, test] = sources_of(context, &encoder)?;
    let transforms = &suite.transforms;
    let evaluation = Evaluation {
        transforms,
        probe: &probe,
        pack: &data.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    duration::say_encoding(&encoder, evaluation.views(probe.combined));
    let mut values = probe::measure_encoder(&evaluation, &*encoder)?;
    if probe.attentive {
        match encoder.tokens_of_blank() {
            Ok(_) => values.extend(attentive(&evaluation, &encoder)?),
            Err(error) => say(&format!("note: rows: `{}`: no attentive probes: {error:#}", row.name)),
        }
    }
    Ok(Measured::of(&encoder, values))
}

/// The attentive probes of a row, with the suite's seeds and training.
fn attentive(evaluation: &Evaluation, encoder: &FrozenEncoder) -> Result<MeasuredValues> {
    let seeds: Vec<u64> = (0..evaluation.probe.seeds).collect();
    let probes = AttentiveProbes {
        evaluation,
        seeds: &seeds,
        config: &evaluation.probe.regression,
        memory: TOKEN_MEMORY,
        remedy: |_| "lower probe.train_pairs and probe.test_pairs, or leave probe.attentive out".to_owned(),
    };
    probes.measure(encoder)
}

/// The headline values of an encoder whose y is as long as that of the suite's network.
fn measure_planted(context: &RunContext, plant: Plant, seed: u64) -> Result<Measured> {
    let suite = context.suite();
    let evaluation = Evaluation {
        transforms: &suite.transforms,
        probe: &suite.probe,
        pack: &context.prepared.data.pack,
        train: &context.train,
        test: &context.test,
        resamples: true,
    };
    let known = KnownImages::of(&evaluation)?;
    let features = usize::try_from(suite.model.out)?;
    Ok(Measured::without_file(calibration::measure_plant(&evaluation, &known, plant, seed, features)?))
}

/// The same probes of encoders whose y has no halves.
fn without_halves(probe: &Probe) -> Probe {
    Probe { parts: vec![ReadoutHalf::All], ..probe.clone() }
}
