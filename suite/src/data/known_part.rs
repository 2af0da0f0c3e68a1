//! Known and unknown transformations (protocol section 7): the part of the training split that a method may train on, and the part whose
//! pairs the probes may see.

use anyhow::Result;
use eqr_datasets::known_images;
use eqr_models::MethodKind;

use crate::data::pairs::PairSource;
use crate::suite_file::suite::Suite;

/// The units of `train` whose transforms and labels are known, a function of the pretraining seed; all without `train.known_fraction`.
///
/// # Errors
/// A fraction out of range.
pub fn known_part(suite: &Suite, train: &PairSource, seed: u64) -> Result<PairSource> {
    let Some(fraction) = suite.train.known_fraction else { return Ok(train.share()) };
    let all = train.units();
    let known: Vec<usize> = known_images(seed, all.len(), fraction)?.into_iter().map(|i| all[i]).collect();
    Ok(train.restricted(&known))
}

/// What `kind` trains on: the known units where it needs parameters or labels, else all; paired as the method says.
///
/// # Errors
/// As [`known_part`].
pub fn training_part(suite: &Suite, train: &PairSource, kind: &MethodKind, seed: u64) -> Result<PairSource> {
    let part = if kind.needs_targets() { known_part(suite, train, seed)? } else { train.share() };
    Ok(part.paired(kind.pairs()))
}
