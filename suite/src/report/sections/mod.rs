//! The tables of a report in order: one file per kind of table, one line of [`SECTIONS`] per section.

mod blocks;
mod calibration;
mod claims;
mod convergence;
mod cost;
mod differences;
mod encoder_gradient;
mod few_shot;
mod geometry;
mod leaderboard;
mod pairs;
mod paper;
mod probe_fit;
mod protocol;
pub mod reconstruction;
mod retrieval;
pub mod scores;
mod section;
mod segmentation;
mod shuffled;
mod transfer;
mod variance;

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
pub use protocol::choices;
use section::{Group, Section};

use crate::report::context::ReportContext;
use crate::report::formats::DataSetReport;
use crate::report::table::Table;
use crate::report::values::Values;

const CLAIMS: &str = "The paper's claims, tested";

/// Every section, in the order of the report: name in CSV, title, the data that it covers, and the function
/// that makes its tables. The claims of all groups open the report.
const SECTIONS: &[Section] = &[
    Section {
        name: scores::MAIN,
        title: "Representation y: per-output R2 of a probe, top-1 of a linear classifier",
        group: Group::Training,
        tables: scores::main,
    },
    Section { name: claims::NAME, title: CLAIMS, group: Group::Training, tables: claims::tables },
    Section {
        name: "leaderboard",
        title: "Leaderboard: encoders by what they hold above their floors",
        group: Group::Training,
        tables: leaderboard::tables,
    },
    Section {
        name: "differences",
        title: "Exploratory: differences between methods, headline metric",
        group: Group::Training,
        tables: differences::in_headlines,
    },
    Section {
        name: "blocks",
        title: "Methods and pretraining seeds: analysis of variance, headline metrics",
        group: Group::Training,
        tables: blocks::tables,
    },
    Section {
        name: "variance",
        title: "Where the variance comes from",
        group: Group::Training,
        tables: variance::tables,
    },
    Section {
        name: "grid",
        title: "Readout `grid`: y and the 2x2 quadrant means of the token map, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "inv",
        title: "Invariant half of y, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "equi",
        title: "Equivariant half of y, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "linear",
        title: "Linear probes of y (ridge regression in closed form), per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "attentive",
        title: "Attentive probes: a learned query pools the tokens of both views, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "canonical",
        title: "Quaternions with w >= 0, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "combined",
        title: "Pairs that differ by all transforms at once, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "shifted",
        title: "The same probes on test pairs from shifted ranges, per-output R2",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "pooled",
        title: "Pooled R2 beside the constant predictor's",
        group: Group::Training,
        tables: scores::transformations,
    },
    Section {
        name: "retrieval",
        title: "Retrieval by the predictor",
        group: Group::Training,
        tables: retrieval::tables,
    },
    Section {
        name: "geometry",
        title: "What y is like, without a probe",
        group: Group::Training,
        tables: geometry::tables,
    },
    Section {
        name: "reconstruction",
        title: "Reconstruction: test MSE",
        group: Group::Training,
        tables: reconstruction::tables,
    },
    Section {
        name: "encoder gradient",
        title: "Norm of the encoder's gradient by term of the loss",
        group: Group::Training,
        tables: encoder_gradient::tables,
    },
    Section {
        name: "cost",
        title: "Cost of the trainings: time and energy",
        group: Group::Training,
        tables: cost::tables,
    },
    Section {
        name: "shuffled",
        title: "Sanity: probes trained on shuffled targets, tested on intact ones",
        group: Group::Training,
        tables: shuffled::tables,
    },
    Section {
        name: "calibration",
        title: "Calibration: what the probes read of planted encoders",
        group: Group::Training,
        tables: calibration::tables,
    },
    Section {
        name: "paper",
        title: "Beside the paper's Table",
        group: Group::Training,
        tables: paper::tables,
    },
    Section {
        name: "transfer",
        title: "Linear transfer: logistic regression on frozen features, accuracy",
        group: Group::Transfer,
        tables: transfer::linear,
    },
    Section { name: claims::NAME, title: CLAIMS, group: Group::Transfer, tables: claims::tables },
    Section {
        name: "differences",
        title: "Exploratory: differences between methods, linear transfer",
        group: Group::Transfer,
        tables: differences::in_transfer,
    },
    Section {
        name: "neighbours",
        title: "nearest neighbours by cosine similarity, on the features of the linear transfer",
        group: Group::Transfer,
        tables: transfer::neighbours,
    },
    Section {
        name: "shifted transfer",
        title: "The same logistic regressions on shifted test images, accuracy",
        group: Group::Transfer,
        tables: transfer::shifted,
    },
    Section {
        name: "few shots",
        title: "Few-shot transfer: logistic regression on a few training images of each class, accuracy",
        group: Group::Transfer,
        tables: few_shot::tables,
    },
    Section {
        name: "paper",
        title: "Beside the paper's Table",
        group: Group::Transfer,
        tables: paper::tables,
    },
    Section {
        name: "segmentation",
        title: "Segmentation: a head on frozen token maps",
        group: Group::Segmentation,
        tables: segmentation::whole,
    },
    Section { name: claims::NAME, title: CLAIMS, group: Group::Segmentation, tables: claims::tables },
    Section {
        name: "differences",
        title: "Exploratory: differences between methods, segmentation, mIoU",
        group: Group::Segmentation,
        tables: differences::in_segmentation,
    },
    Section {
        name: "classes",
        title: "Segmentation",
        group: Group::Segmentation,
        tables: segmentation::classes,
    },
    Section {
        name: "paper",
        title: "Beside the paper's Table",
        group: Group::Segmentation,
        tables: paper::tables,
    },
    Section {
        name: "protocol",
        title: "Protocol: every choice behind these numbers",
        group: Group::Protocol,
        tables: protocol::tables,
    },
];

/// Sections that the end of a run and `report` show on a terminal.
const HEADLINES: [&str; 5] = [claims::NAME, scores::MAIN, "leaderboard", "transfer", "segmentation"];

/// The tables of [`HEADLINES`].
pub fn headline(values: &Values, context: &ReportContext) -> Vec<Table> {
    all(values, context).into_iter().filter(|table| HEADLINES.contains(&table.section)).collect()
}

/// The tables of [`HEADLINES`] that show this run's values, without notes.
pub fn scores_alone(values: &Values, context: &ReportContext) -> Vec<Table> {
    let tables = headline(values, context).into_iter();
    let scores = tables.filter(|table| !is_of_claims(table) && table.has_estimates());
    scores.map(|table| Table { notes: vec![], ..table }).collect()
}

/// Names of all sections, each once.
pub fn names_of_sections() -> BTreeSet<&'static str> {
    SECTIONS.iter().map(|section| section.name).collect()
}

/// Keeps the tables of one section, and the data sets that have any.
///
/// # Errors
/// No data set has a table of it.
pub fn keep_section(data_sets: &mut Vec<DataSetReport>, name: &str) -> Result<()> {
    let all = || data_sets.iter().flat_map(|data_set| &data_set.tables);
    let has: BTreeSet<&str> = all().map(|table| table.section).collect();
    ensure!(
        has.contains(name),
        "section `{name}` has no value in this run\nhint: it has values of {}",
        Vec::from_iter(has).join(", ")
    );
    data_sets.iter_mut().for_each(|data_set| data_set.tables.retain(|table| table.section == name));
    data_sets.retain(|data_set| !data_set.tables.is_empty());
    Ok(())
}

/// All tables: first the claims, then those about the training data set, then those about other data sets.
pub fn all(values: &Values, context: &ReportContext) -> Vec<Table> {
    let mut training = group_tables(Group::Training, values, context);
    let elsewhere =
        [group_tables(Group::Transfer, values, context), group_tables(Group::Segmentation, values, context)]
            .concat();
    // a suite may only transfer its encoders and not probe them; then transfer comes first
    let groups = if training[0].has_values() || !elsewhere.iter().any(Table::has_estimates) {
        [training, elsewhere]
    } else {
        training.remove(0);
        [elsewhere, training]
    };
    claims_first(groups.concat().into_iter().chain(group_tables(Group::Protocol, values, context)))
}

/// The tables that mirror the paper's table `number`: all tables of a suite that mirrors it as a whole, else
/// only those of transfer or segmentation.
///
/// # Errors
/// None of them has a value of this run.
pub fn mirroring(number: u8, values: &Values, context: &ReportContext) -> Result<Vec<Table>> {
    let mirrors = |group: &Group| group.paper_table(context) == Some(number);
    let tables = match [Group::Transfer, Group::Segmentation].into_iter().find(mirrors) {
        _ if context.table == Some(number) => all(values, context),
        Some(group) => claims_first(group_tables(group, values, context).into_iter()),
        None => vec![],
    };
    if !tables.iter().any(Table::has_estimates) {
        bail!(
            "suite {}: Table {number} has no finished cell yet\nhint: `eqr-bench run` does what is missing",
            context.suite
        );
    }
    Ok(tables)
}

fn claims_first(tables: impl Iterator<Item = Table>) -> Vec<Table> {
    let (claims, others): (Vec<Table>, Vec<Table>) = tables.partition(is_of_claims);
    [claims, others].concat()
}

/// Whether a table is about claims, and not about the values behind them.
pub fn is_of_claims(table: &Table) -> bool {
    table.section == claims::NAME
}

/// The main table in any case, and the others if they have values.
fn group_tables(group: Group, values: &Values, context: &ReportContext) -> Vec<Table> {
    let sections = SECTIONS.iter().filter(|section| section.group == group);
    let tables = sections.flat_map(|section| (section.tables)(section, values, context));
    tables.filter(|table| table.section == scores::MAIN || table.has_values()).collect()
}

#[cfg(test)]
pub fn section(name: &str, group: Group) -> &'static Section {
    SECTIONS
        .iter()
        .find(|section| section.name == name && section.group == group)
        .expect("a section of SECTIONS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{MEASURES, R2_SECTIONS};

    #[test]
    fn headlines_are_sections() {
        for name in HEADLINES {
            assert!(SECTIONS.iter().any(|section| section.name == name), "{name}");
        }
    }

    #[test]
    fn every_section_of_the_registry_is_in_the_report() {
        let shown = MEASURES.iter().filter_map(|measure| measure.section);
        for name in shown.chain(R2_SECTIONS.map(|(name, _)| name)) {
            assert!(SECTIONS.iter().any(|section| section.name == name), "{name}");
        }
    }
}
