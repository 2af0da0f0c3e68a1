//! What `bench` reads of a run that it has made.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use eqr_models::Compute;
use serde::{Deserialize, Serialize};

use crate::run_folder::cell::{Cell, CurvePoint};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, manifest};

/// The phases of a run in seconds, as it writes them.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct PhaseSeconds {
    pub(super) data: f64,
    pub(super) training: f64,
    pub(super) probes: f64,
}

/// The only training of a run of the fixed work.
///
/// # Errors
/// No such training.
pub(super) fn training(run: &Path) -> Result<Cell> {
    RunFolder::new(run).cell("pretrain-ours-seed0")
}

/// The phases of a run.
///
/// # Errors
/// A run that is not finished.
pub(super) fn phase_seconds(run: &Path) -> Result<PhaseSeconds> {
    let file = run.join(layout::TIMING);
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

/// The number type that a run was computed in.
///
/// # Errors
/// A manifest that does not say it.
pub(super) fn number_type(run: &Path) -> Result<Compute> {
    manifest::precision(&RunFolder::new(run))
        .with_context(|| format!("{}: the manifest has no precision", run.display()))
}

/// Checks that a training has learned.
///
/// # Errors
/// A loss that did not become smaller.
pub(super) fn check_learned(training: &Cell) -> Result<()> {
    let loss = |point: Option<&CurvePoint>| point.map_or(f64::NAN, |point| point.terms["loss"]);
    let (first, last) = (loss(training.curve.first()), loss(training.curve.last()));
    ensure!(
        last < first,
        "the result is not valid: the loss was {first} at the beginning of the training and {last} at its end"
    );
    Ok(())
}
