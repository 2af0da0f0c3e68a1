//! The files of the rows that are not trained here, checked before the first training step: an encoder that
//! fails or a row of results that cannot be read must not be met after the trainings.

use anyhow::{Context, Result};
use eqr_datasets::Pack;
use tch::Device;

use crate::data::set_facts::SetFacts;
use crate::encoder::file_format::is_module;
use crate::encoder::frozen::FrozenEncoder;
use crate::measure::feature_file::FeatureFile;
use crate::measure::imported_results;
use crate::measure::probe::feature_sets;
use crate::run_folder::cell::CellKind;
use crate::run_folder::metric::ValueOrigin;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::tasks::tasks;

/// Reads every file of an external row.
///
/// # Errors
/// A file that cannot be read or does not hold what the suite measures.
pub(super) fn check(
    sub_suite: &SubSuite,
    data: &SetFacts,
    row: &ExternalRow,
    downstream: [&[&Pack]; 2],
    device: Device,
) -> Result<()> {
    if row.has_random_weights {
        // its file is that of the row before it, unless it is a module of its own
        let module = row.encoder.as_deref().filter(|path| is_module(path));
        let open =
            |path| FrozenEncoder::open(path, &row.options, row.options.size.or(Some(data.side)), device);
        return module.map_or(Ok(()), |path| open(path)?.untrained().map(drop));
    }
    check_encoder(sub_suite, data, row, device)?;
    check_features(sub_suite, data, row)?;
    check_results(sub_suite, data, row, downstream)
}

fn check_encoder(sub_suite: &SubSuite, data: &SetFacts, row: &ExternalRow, device: Device) -> Result<()> {
    let Some(path) = &row.encoder else { return Ok(()) };
    let suite = &sub_suite.suite;
    if suite.probe.seeds > 0 {
        FrozenEncoder::open(path, &row.options, row.options.size.or(Some(data.side)), device)?;
    }
    if !suite.transfer.is_empty() {
        FrozenEncoder::open(path, &row.options, row.options.size, device).context("transfer")?;
    }
    // an encoder without a token map is still probed; its segmentation fails by name
    Ok(())
}

fn check_features(sub_suite: &SubSuite, data: &SetFacts, row: &ExternalRow) -> Result<()> {
    let suite = &sub_suite.suite;
    if let Some(path) = row.features.as_ref().filter(|_| suite.probe.seeds > 0) {
        let file = FeatureFile::open(path)?;
        feature_sets(&file, &tasks(data.kind, &suite.transforms), Device::Cpu)?;
        if file.has_labelled() {
            file.classification(Device::Cpu)?;
        }
    }
    let sets = suite.transfer.iter().filter_map(|set| row.transfer.get(&set.slug()));
    sets.into_iter().try_for_each(|path| FeatureFile::open(path)?.transfer_data(Device::Cpu).map(drop))
}

/// A results file must hold values for at least one of the measurements of the suite.
fn check_results(
    sub_suite: &SubSuite,
    data: &SetFacts,
    row: &ExternalRow,
    [transfer, segmentation]: [&[&Pack]; 2],
) -> Result<()> {
    let Some(path) = &row.metrics else { return Ok(()) };
    let own = sub_suite.key.as_ref().unwrap_or(&data.name);
    let measured = [(CellKind::Transfer, transfer), (CellKind::Segment, segmentation)];
    let measured =
        measured.into_iter().flat_map(|(kind, packs)| packs.iter().map(move |pack| (kind, &pack.name)));
    for (kind, data_set) in std::iter::once((CellKind::Probe, own)).chain(measured) {
        if imported_results::data_sets(path, &row.name, kind)?.contains(data_set) {
            return Ok(());
        }
    }
    let (suite, method) = (&*sub_suite.suite.name, row.name.clone());
    let origin = ValueOrigin { suite, table: None, dataset: own, method, pretrain_seed: 0, cell: "" };
    // says that there is no row, and what the file has
    imported_results::metrics(path, &origin, CellKind::Probe).map(drop)
}
