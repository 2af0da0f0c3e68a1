//! The equivariance X-ray: what every layer of a frozen encoder holds of every transformation, and where.
//!
//! All layers of an image are read in the pass that encodes it (`views`). `photographs` and `renders` make
//! the pairs that `probe` makes, too. The measures are `held` (R2 of `predictions` by ridge regression or
//! perceptrons), `sensitivity`, and `classes` (nearest neighbours, effective rank).

mod classes;
mod held;
mod photographs;
#[cfg(test)]
mod planted;
mod predictions;
mod renders;
mod sensitivity;
mod spots;
mod views;

use anyhow::Result;
use eqr_datasets::SetKind;

use crate::encoder::layer::LayeredEncoder;
use crate::measure::evaluation::Evaluation;
use crate::run_folder::xray::Xray;
use crate::suite_file::xray::XrayProbe;
use held::Probes;

/// Takes an X-ray of `encoder`, whose transformations are predicted by `probe`.
///
/// # Errors
/// Images that cannot be read, an encoder that fails, features that are not finite, a probe that diverges.
pub fn measure(encoder: &dyn LayeredEncoder, evaluation: &Evaluation, probe: XrayProbe) -> Result<Xray> {
    let probes = Probes { kind: probe, settings: evaluation.probe };
    let mut xray = tch::no_grad(|| match evaluation.pack.kind {
        SetKind::Renders => renders::measure(encoder, evaluation, probes),
        SetKind::Photographs => photographs::measure(encoder, evaluation, probes),
    })?;
    xray.readings.sort_by_key(|reading| reading.measure);
    Ok(xray)
}

/// Number of images that an X-ray encodes, at most.
pub fn images(evaluation: &Evaluation, probe: XrayProbe) -> usize {
    match evaluation.pack.kind {
        SetKind::Renders => renders::images(evaluation, probe),
        SetKind::Photographs => photographs::images(evaluation),
    }
}
