//! The list of a sub-suite's measurements, one cell each.

use std::path::{Path, PathBuf};

use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::imported_results;
use crate::registry::TaskFamily;
use crate::run::context::RunContext;
use crate::run::request::RunScope;
use crate::run_folder::cell::CellKind;
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::metric::{MeasuredValue, MeasuredValues, ResampledMetric};
use crate::run_folder::xray::Xray;
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::downstream_sets::TransferSet;
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::plan::{EncoderRun, curve_steps};
use crate::suite_file::plant::Plant;
use crate::suite_file::suite::Suite;

/// What is measured: an encoder of this run, or an external row.
#[derive(Clone)]
pub(super) enum MeasuredRow {
    Trained(EncoderRun),
    External(ExternalRow),
    /// An encoder whose attainable R2 is known.
    Planted {
        plant: Plant,
        seed: u64,
    },
}

#[derive(Clone, Copy)]
pub(super) enum MeasurementKind {
    /// Probes after some training steps, or at the end of training.
    Probe { step: Option<u64> },
    /// Transfer to the suite's transfer set at this position.
    Transfer { set: usize },
    /// An X-ray of the encoder.
    Xray,
    /// Segmentation of the suite's segmentation set at this position, with this seed of the head.
    Segment { set: usize, seed: u64 },
}

/// What measuring a cell gives.
pub(super) struct Measured {
    pub(super) values: Vec<MeasuredValue>,
    /// What an encoder from a file is and how it was read.
    pub(super) encoder: Option<EncoderDescription>,
    /// Draws of the values, if the encoder exists once.
    pub(super) resampled: Vec<ResampledMetric>,
    pub(super) xray: Option<Xray>,
}

impl Measured {
    /// The values of an encoder that was trained here, or of features.
    pub(super) fn without_file(values: impl Into<MeasuredValues>) -> Measured {
        let MeasuredValues { values, resampled } = values.into();
        Measured { values, encoder: None, resampled, xray: None }
    }

    /// The values of an encoder from a file.
    pub(super) fn of(encoder: &FrozenEncoder, values: impl Into<MeasuredValues>) -> Measured {
        let encoder = encoder.opened().map(|opened| opened.description.clone());
        Measured { encoder, ..Measured::without_file(values) }
    }
}

/// A cell to measure.
pub(super) struct Measurement {
    pub(super) id: String,
    pub(super) row: MeasuredRow,
    pub(super) kind: MeasurementKind,
}

impl MeasurementKind {
    pub(super) fn cell_kind(self) -> CellKind {
        match self {
            MeasurementKind::Probe { .. } => CellKind::Probe,
            MeasurementKind::Transfer { .. } => CellKind::Transfer,
            MeasurementKind::Segment { .. } => CellKind::Segment,
            MeasurementKind::Xray => CellKind::Xray,
        }
    }

    /// The name of the measured data set in tables, and the paper's table that the values belong to.
    pub(super) fn data_set<'a>(self, context: &'a RunContext) -> (&'a str, Option<u8>) {
        let prepared = context.prepared;
        let downstream = &prepared.downstream;
        match self {
            MeasurementKind::Probe { .. } | MeasurementKind::Xray => {
                (prepared.sub_suite.key.as_ref().unwrap_or(&prepared.data.pack.name), context.suite().table)
            }
            MeasurementKind::Transfer { set } => {
                (&downstream.transfer[set].name, TaskFamily::LinearTransfer.paper_table())
            }
            MeasurementKind::Segment { set, .. } => {
                (&downstream.segmentation[set].name, TaskFamily::Segmentation.paper_table())
            }
        }
    }
}

impl MeasuredRow {
    /// Name in the tables.
    pub(super) fn name(&self) -> String {
        match self {
            MeasuredRow::Trained(run) => run.row.to_string(),
            MeasuredRow::External(row) => row.name.clone(),
            MeasuredRow::Planted { plant, .. } => plant.to_string(),
        }
    }

    /// Seed of the pretraining, or of what is planted.
    pub(super) fn pretrain_seed(&self) -> u64 {
        match self {
            MeasuredRow::Trained(run) => run.seed,
            MeasuredRow::External(_) => 0,
            MeasuredRow::Planted { seed, .. } => *seed,
        }
    }

    /// Whether it is trained by this run before it is measured.
    pub(super) fn trains(&self) -> bool {
        matches!(self, MeasuredRow::Trained(run) if run.row.kind.trains())
    }

    /// Whether it comes from elsewhere: its seeds are not those of the rows that are trained here.
    pub(super) fn is_external(&self) -> bool {
        !matches!(self, MeasuredRow::Trained(_))
    }

    /// Whether it has layers and may have a token map. Encoders from files are asked when they are opened.
    fn has_network(&self) -> bool {
        match self {
            MeasuredRow::Trained(run) => run.row.kind.has_network(),
            MeasuredRow::External(_) => true,
            MeasuredRow::Planted { .. } => false,
        }
    }

    /// The results file of a row that was measured elsewhere.
    pub(super) fn results(&self) -> Option<&Path> {
        match self {
            MeasuredRow::External(row) => row.metrics.as_deref(),
            MeasuredRow::Trained(_) | MeasuredRow::Planted { .. } => None,
        }
    }

    /// The row's file of labelled features of `set`, if it has one.
    pub(super) fn transfer_features(&self, set: &TransferSet) -> Option<&Path> {
        match self {
            MeasuredRow::External(row) => row.transfer.get(&set.slug()).map(PathBuf::as_path),
            MeasuredRow::Trained(_) | MeasuredRow::Planted { .. } => None,
        }
    }
}

/// The measurements after the trainings: first the probes of every row and of planted encoders, then the
/// X-rays, then transfer and segmentation, set by set.
pub(super) fn after_training(sub_suite: &SubSuite, runs: &[EncoderRun]) -> Vec<Measurement> {
    let Suite { rows, transfer, segmentation, probe, xray, first_seed, .. } = &sub_suite.suite;
    let key = sub_suite.key.as_ref().map(|key| format!("{key}-")).unwrap_or_default();
    let trained = runs.iter().map(|run| (run.slug(), MeasuredRow::Trained(run.clone())));
    let external =
        rows.iter().map(|row| (format!("{key}{}", row.slug()), MeasuredRow::External(row.clone())));
    let rows: Vec<(String, MeasuredRow)> = trained.chain(external).collect();
    let mut all = Vec::new();
    let mut add = |id: String, row: &MeasuredRow, kind| all.push(Measurement { id, row: row.clone(), kind });
    for (slug, row) in rows.iter().filter(|_| probe.seeds > 0) {
        add(format!("probe-{slug}"), row, MeasurementKind::Probe { step: None });
    }
    for plant in Plant::all().into_iter().filter(|_| probe.calibrate && probe.seeds > 0) {
        for seed in plant.seeds() {
            let (id, row) =
                (format!("probe-{key}{}-seed{seed}", plant.slug()), MeasuredRow::Planted { plant, seed });
            add(id, &row, MeasurementKind::Probe { step: None });
        }
    }
    for (slug, row) in rows.iter().filter(|(_, row)| xray.is_some() && row.has_network()) {
        let is_first = row.is_external() || row.pretrain_seed() == *first_seed;
        if is_first && row.results().is_none() {
            add(format!("xray-{slug}"), row, MeasurementKind::Xray);
        }
    }
    for (i, set) in transfer.iter().enumerate() {
        for (slug, row) in &rows {
            add(format!("transfer-{}-{slug}", set.slug()), row, MeasurementKind::Transfer { set: i });
        }
    }
    for (i, set) in segmentation.iter().enumerate() {
        for (slug, row) in rows.iter().filter(|(_, row)| row.has_network()) {
            // imported results already contain all their seeds
            let seeds = if row.results().is_some() { 1 } else { set.seeds };
            for seed in 0..seeds {
                let kind = MeasurementKind::Segment { set: i, seed };
                add(format!("segment-{}-{slug}-head{seed}", set.slug()), row, kind);
            }
        }
    }
    all
}

/// The measurements that the scope of the run and the rows' files allow: first those after training, then the
/// probes of the curves.
pub(super) fn possible(context: &RunContext) -> Outcome<Vec<Measurement>> {
    // external rows belong to the first look, and to no part
    let has_external_rows = match &context.options.scope {
        RunScope::Trainings => return Ok(Vec::new()),
        RunScope::Whole => context.seeds.start == context.suite().first_seed,
        RunScope::Part { .. } => false,
    };
    let runs = context.encoder_runs()?;
    let mut all = after_training(&context.prepared.sub_suite, &runs);
    all.retain(|measurement| is_possible(context, measurement));
    all.retain(|measurement| has_external_rows || !measurement.row.is_external());
    for run in runs.iter().filter(|run| run.row.kind.trains()) {
        let units = context.training_pairs(run).map_err(Failure::run)?.units().len();
        let per_epoch = context.training_steps(run, units).per_epoch;
        for step in curve_steps(context.suite(), run.row.budget, per_epoch) {
            let (id, row) = (run.probe_id_at(step), MeasuredRow::Trained(run.clone()));
            all.push(Measurement { id, row, kind: MeasurementKind::Probe { step: Some(step) } });
        }
    }
    Ok(all)
}

/// Whether the row's files contain what the measurement reads. A results file without any row for this
/// sub-suite still gets its probe, which then fails with a message that says so.
fn is_possible(context: &RunContext, Measurement { row, kind, .. }: &Measurement) -> bool {
    let MeasuredRow::External(external) = row else { return true };
    let Some(results) = row.results() else {
        return match *kind {
            MeasurementKind::Probe { .. } => true,
            MeasurementKind::Transfer { set } => {
                external.encoder.is_some() || row.transfer_features(&context.suite().transfer[set]).is_some()
            }
            MeasurementKind::Segment { .. } | MeasurementKind::Xray => external.encoder.is_some(),
        };
    };
    let has = |kind: MeasurementKind| {
        let data_sets = imported_results::data_sets(results, &external.name, kind.cell_kind());
        data_sets.is_ok_and(|found| found.contains(kind.data_set(context).0))
    };
    let downstream = &context.prepared.downstream;
    let transfers = (0..downstream.transfer.len()).map(|set| MeasurementKind::Transfer { set });
    let segmentations =
        (0..downstream.segmentation.len()).map(|set| MeasurementKind::Segment { set, seed: 0 });
    has(*kind) || (matches!(kind, MeasurementKind::Probe { .. }) && !transfers.chain(segmentations).any(has))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite_file::data_sets::load;
    use crate::suite_file::overrides::Override;
    use crate::suite_file::plan::encoder_runs;

    #[test]
    fn probes_come_first_and_heads_are_for_token_maps() {
        let rows = [
            ExternalRow::from_file("Theirs", "theirs.csv".into()),
            ExternalRow::from_file("DINO", "dino.pt".into()),
        ];
        let overrides = [
            "segmentation=[{file=\"d.h5\", seeds=2}]",
            "transfer=[{file=\"p.h5\"}]",
            "methods=[\"Ours\", \"PCA of the pixels (16)\"]",
            "xray={}",
            "seeds=1",
        ]
        .map(|assignment| Override::parse(assignment).unwrap());
        let sub_suites = load("quickstart", &overrides, &rows).unwrap();
        let all = after_training(&sub_suites[0], &encoder_runs(&sub_suites[0], 0..1).unwrap());
        let ids: Vec<&str> = all.iter().map(|measurement| measurement.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "probe-ours-seed0",
                "probe-pca-of-the-pixels-16-seed0",
                "probe-external-theirs",
                "probe-external-dino",
                "xray-ours-seed0",
                "xray-external-dino",
                "transfer-p-ours-seed0",
                "transfer-p-pca-of-the-pixels-16-seed0",
                "transfer-p-external-theirs",
                "transfer-p-external-dino",
                "segment-d-ours-seed0-head0",
                "segment-d-ours-seed0-head1",
                "segment-d-external-theirs-head0",
                "segment-d-external-dino-head0",
                "segment-d-external-dino-head1",
            ]
        );
    }
}
