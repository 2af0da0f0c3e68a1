//! A transfer cell: a row's encoder, or its labelled features, on another data set.

use std::rc::Rc;

use anyhow::Result;
use eqr_datasets::pack::PackedSplit;
use eqr_models::{MethodKind, Solo};
use eqr_probes::few_shot::few_shot;
use eqr_probes::logistic::LogisticConfig;
use eqr_probes::transfer::{TransferData, transfer};

use crate::console::{say, with_progress};
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::pixel_pca::PixelPca;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::duration;
use crate::measure::feature_file::FeatureFile;
use crate::measure::transfer::{
    Asked, ImageEncoder, few_shot_values, resampled, transfer_data, unfinished_note, values,
};
use crate::run::context::RunContext;
use crate::run::encoders::{external_encoder, trained_network};
use crate::run::measurements::{Measured, MeasuredRow};
use crate::run_folder::metric::MeasuredValues;

/// The accuracies on the suite's transfer set at position `set`.
pub(super) fn measure(context: &RunContext, row: &MeasuredRow, set: usize) -> Result<Measured> {
    let (data, encoder) = data(context, row, set)?;
    let result = with_progress("logistic regression, fits ended", |tick| {
        transfer(&data, &LogisticConfig::default(), &Solo, tick)
    })?;
    let resampled = if row.is_external() { resampled(&result) } else { Vec::new() };
    let mut values = MeasuredValues { values: values(&result), resampled };
    if let Some(config) = &context.suite().transfer[set].few_shot {
        let found = with_progress("few-shot fits ended", |tick| {
            few_shot(&data, config, &LogisticConfig::default(), &Solo, tick)
        })?;
        unfinished_note(&found).iter().for_each(|note| say(note));
        values.values.extend(few_shot_values(&found));
    }
    Ok(match encoder {
        Some(encoder) => Measured::of(&encoder, values),
        None => Measured::without_file(values),
    })
}

/// The labelled features, and the encoder from a file that they are of.
fn data(
    context: &RunContext,
    row: &MeasuredRow,
    set: usize,
) -> Result<(TransferData, Option<Rc<FrozenEncoder>>)> {
    let device = context.worker.device;
    let (pack, set) = (&context.prepared.downstream.transfer[set], &context.suite().transfer[set]);
    let asked = Asked { preparation: &set.preparation, few_shot: set.few_shot.as_ref(), shift: set.shift };
    if let Some(features) = row.transfer_features(set) {
        return Ok((FeatureFile::open(features)?.transfer_data(device)?, None));
    }
    match row {
        MeasuredRow::Trained(run) => {
            let encoder: Box<dyn FeatureEncoder> = match run.row.kind {
                MethodKind::PixelPca { components } => {
                    Box::new(PixelPca::fit(&context.train, components, run.seed)?)
                }
                _ => Box::new(trained_network(context, run, None)?.0),
            };
            let (side, normalisation) = (context.prepared.data.side, context.train.normalisation());
            let encoder = ImageEncoder { encoder: &*encoder, side, normalisation, device };
            Ok((transfer_data(pack, encoder, asked)?, None))
        }
        MeasuredRow::Planted { .. } => unreachable!("planted encoders are only probed"),
        MeasuredRow::External(row) => {
            let encoder = external_encoder(context, row, None)?;
            duration::say_encoding(&encoder, pack.splits.iter().map(PackedSplit::len).sum());
            let seen = ImageEncoder::frozen(&encoder, device);
            let data = transfer_data(pack, seen, asked)?;
            Ok((data, Some(encoder)))
        }
    }
}
