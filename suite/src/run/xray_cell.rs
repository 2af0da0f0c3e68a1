//! An X-ray cell: what every layer of an encoder of this run, or of an external one, holds.

use anyhow::{Context, Result};

use crate::data::known_units::known_units;
use crate::data::pairs::PairSource;
use crate::encoder::frozen::FrozenEncoder;
use crate::measure::evaluation::Evaluation;
use crate::measure::{duration, xray};
use crate::run::context::RunContext;
use crate::run::encoders::{external_encoder, sources_of, trained_encoder};
use crate::run::measurements::{Measured, MeasuredRow};

/// The X-ray, without any value for the tables.
pub(super) fn measure(context: &RunContext, row: &MeasuredRow) -> Result<Measured> {
    match row {
        MeasuredRow::Trained(run) => {
            let encoder = trained_encoder(context, run, context.prepared.data.side)?;
            let known = known_units(context.suite(), &context.train, run.seed)?;
            measure_frozen(context, &encoder, [&known, &context.test])
        }
        MeasuredRow::External(row) => {
            let encoder = external_encoder(context, row, Some(context.prepared.data.side))?;
            let [train, test] = sources_of(context, &encoder)?;
            measure_frozen(context, &encoder, [&train, &test])
        }
        MeasuredRow::Planted { .. } => unreachable!("planted encoders have no layers"),
    }
}

fn measure_frozen(
    context: &RunContext,
    encoder: &FrozenEncoder,
    [train, test]: [&PairSource; 2],
) -> Result<Measured> {
    let suite = context.suite();
    let settings = suite.xray.as_ref().context("the suite has no [xray]")?;
    let evaluation = Evaluation {
        transforms: &suite.transforms,
        probe: &settings.at_one_place(),
        pack: &context.prepared.data.pack,
        train,
        test,
        resamples: true,
    };
    duration::say_encoding(encoder, xray::images(&evaluation, settings.probe));
    let xray = xray::measure(encoder, &evaluation, settings.probe)?;
    Ok(Measured { xray: Some(xray), ..Measured::of(encoder, Vec::new()) })
}
