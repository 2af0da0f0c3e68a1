//! Units (objects of renders, or photographs) whose transforms and labels are known (protocol section 7), and
//! the units that a method trains on.

use anyhow::Result;
use eqr_datasets::known_images;
use eqr_models::MethodKind;

use crate::data::pairs::PairSource;
use crate::suite_file::suite::Suite;

/// The units of `train` whose transforms and labels are known: a random choice that depends on the
/// pretraining seed. Without `train.known_fraction`, all units.
///
/// # Errors
/// A fraction out of range.
pub fn known_units(suite: &Suite, train: &PairSource, seed: u64) -> Result<PairSource> {
    let Some(fraction) = suite.train.known_fraction else { return Ok(train.share()) };
    let all = train.units();
    let known: Vec<usize> = known_images(seed, all.len(), fraction)?.into_iter().map(|i| all[i]).collect();
    Ok(train.restricted(&known))
}

/// The units that `kind` trains on: the known ones if it needs parameters or labels, or is a control that has
/// only those; otherwise all. Pairs are made in the way that the method needs.
///
/// # Errors
/// Same as [`known_units`].
pub fn training_units(suite: &Suite, train: &PairSource, kind: &MethodKind, seed: u64) -> Result<PairSource> {
    let units = if kind.trains_on_known_units() { known_units(suite, train, seed)? } else { train.share() };
    Ok(units.paired_for(kind))
}
