//! What the cells do not record: which rows and columns the tables have, in which order, and their names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use eqr_probes::sequential::Looks;
use serde::{Deserialize, Serialize};

use crate::registry::{SEGMENTATION_TABLE, TRANSFER_TABLE, TaskFamily};
use crate::report::values::Quantity;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, seal};
use crate::suite_file::compared_pairs::ComparedPair;
use crate::suite_file::own_claims::OwnClaim;
use crate::suite_file::scale::Scale;

/// A choice of the protocol, and what was chosen.
pub type Choice = (String, String);

/// What a report of one data set needs in addition to the cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportContext {
    /// Key of the data set, if the suite has several. Only its cells are reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Name of the suite.
    pub suite: String,
    /// Heading of the report.
    pub title: String,
    /// Whether the run is as large as the paper's.
    pub scale: Scale,
    /// The paper's table that the suite mirrors, if any.
    pub table: Option<u8>,
    /// Columns, in order. Every task is represented by the headline of its family.
    pub tasks: Vec<String>,
    /// Rows, in order; `Random init` is the floor and `Direct regression` the ceiling.
    pub methods: Vec<String>,
    /// Additional pairs of methods that the suite asks to test against each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<ComparedPair>,
    /// Orders of two methods that the suite claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<OwnClaim>,
    /// The looks at the claims, if the number of seeds depends on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looks: Option<Looks>,
    /// Other data sets for classification, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<TransferColumn>,
    /// Other data sets for segmentation, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentations: Vec<String>,
    /// Lines below the title, such as what is reduced compared with the paper.
    pub notes: Vec<String>,
    /// Every choice behind the numbers. Empty for runs of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<Choice>,
}

/// A column of the table of linear transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferColumn {
    /// The data set.
    pub dataset: String,
    /// The metric that is shown: `top1` or `mean_per_class`.
    pub metric: String,
}

impl TransferColumn {
    /// What the column shows.
    pub fn quantity(&self) -> Quantity {
        Quantity::on(&self.dataset, TaskFamily::LinearTransfer.name(), &self.metric)
    }
}

/// The content of `report.json`.
#[derive(Serialize, Deserialize)]
struct StoredContexts<'a> {
    data_sets: Cow<'a, [ReportContext]>,
}

/// The contexts of several runs that measure alike as one: by data set, those of the first run with the rows,
/// claims and notes of all.
pub fn join_contexts(runs: Vec<Vec<ReportContext>>) -> Vec<ReportContext> {
    let mut joint: Vec<ReportContext> = Vec::new();
    for context in runs.into_iter().flatten() {
        match joint.iter_mut().find(|found| found.part == context.part) {
            None => joint.push(context),
            Some(found) => {
                extend(&mut found.methods, context.methods);
                extend(&mut found.compare, context.compare);
                extend(&mut found.claims, context.claims);
                extend(&mut found.notes, context.notes);
            }
        }
    }
    joint
}

/// Adds the items that are not in the list yet.
fn extend<T: PartialEq>(list: &mut Vec<T>, items: Vec<T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

impl ReportContext {
    /// Numbers of the paper's tables that the suite mirrors.
    pub fn mirrored(&self) -> BTreeSet<u8> {
        let transfer = (!self.transfers.is_empty()).then_some(TRANSFER_TABLE);
        let segmentation = (!self.segmentations.is_empty()).then_some(SEGMENTATION_TABLE);
        self.table.into_iter().chain(transfer).chain(segmentation).collect()
    }
}

/// Writes what a report of the run needs in addition to its cells, one context per data set.
///
/// # Errors
/// Files that cannot be written.
pub fn write_contexts(folder: &RunFolder, contexts: &[ReportContext]) -> Result<()> {
    seal::write_sealed(&folder.path(layout::REPORT), &StoredContexts { data_sets: contexts.into() })
}

/// Reads the contexts of a run, which may be unfinished.
///
/// # Errors
/// A folder that holds no run, or a run of another version.
pub fn stored_contexts(folder: &RunFolder) -> Result<Vec<ReportContext>> {
    let path = folder.path(layout::REPORT);
    if !path.exists() {
        bail!(
            "{} holds no run: {} is missing\nhint: `eqr-bench run` writes it",
            folder.root().display(),
            layout::REPORT
        );
    }
    let again = "hint: `eqr-bench run` with the same options writes it again";
    let stored: StoredContexts = seal::read_sealed(&path).map_err(|error| anyhow!("{error:#}\n{again}"))?;
    Ok(stored.data_sets.into_owned())
}
