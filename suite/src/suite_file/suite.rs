//! A suite: what is trained on what, and how it is measured. Every key has the protocol's value as its
//! default, if the protocol gives one.

use std::ops::Range;

use anyhow::Result;
use eqr_models::MethodKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suite_file::compared_pairs::ComparedPair;
use crate::suite_file::data_source::Data;
use crate::suite_file::downstream_sets::{SegmentationSet, TransferSet};
use crate::suite_file::external_rows::ExternalRow;
use crate::suite_file::model::Model;
use crate::suite_file::own_claims::OwnClaim;
use crate::suite_file::probe::Probe;
use crate::suite_file::scale::Scale;
use crate::suite_file::suggestions::parse_method;
use crate::suite_file::train::Train;
use crate::suite_file::transforms::Transforms;
use crate::suite_file::xray::XraySettings;

/// A suite file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name of the suite. Default: that of its file.
    #[serde(default)]
    pub name: String,
    /// Heading of its report. Default: the name.
    #[serde(default)]
    pub title: String,
    /// Number of the paper's table that it mirrors.
    #[serde(default)]
    pub table: Option<u8>,
    /// Size compared with the paper.
    #[serde(default = "reduced")]
    pub scale: Scale,
    /// Lines below every table: what is reduced compared with the paper.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Rows that this program pretrains, by name (docs/methods.md).
    #[serde(default)]
    pub methods: Vec<String>,
    /// Rows that were produced elsewhere: encoders, features or results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<ExternalRow>,
    /// Pairs of rows that the report tests in addition to those that it always tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<ComparedPair>,
    /// Orders of two rows that the report tests as claims, in addition to the paper's.
    #[serde(default, rename = "claim", skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<OwnClaim>,
    /// Number of pretraining seeds: first_seed, first_seed + 1, ..
    #[serde(default = "three")]
    pub seeds: u64,
    /// The first pretraining seed. Experiments that choose a setting use other seeds than the runs that
    /// confirm it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_seed: u64,
    /// The data set. Several sections `[[data]]` are several data sets.
    pub data: Data,
    /// Transforms of photographs; renders have rotation and color.
    #[serde(default)]
    pub transforms: Transforms,
    /// The network.
    pub model: Model,
    /// Pretraining.
    #[serde(default)]
    pub train: Train,
    /// Evaluation of the frozen encoders by probes.
    #[serde(default)]
    pub probe: Probe,
    /// X-rays of the encoders with the first pretraining seed and of those from files; none unless the
    /// section is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xray: Option<XraySettings>,
    /// Data sets that every row's encoder is transferred to (Table 5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfer: Vec<TransferSet>,
    /// Data sets that every row's encoder segments (Table 6).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentation: Vec<SegmentationSet>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A suite is reduced unless its file says otherwise.
fn reduced() -> Scale {
    Scale::Reduced
}

/// Number of seeds that the protocol asks for at least.
fn three() -> u64 {
    3
}

impl Suite {
    /// The first `count` pretraining seeds, ascending.
    pub fn first_seeds(&self, count: u64) -> Range<u64> {
        self.first_seed..self.first_seed + count
    }

    /// The methods, parsed.
    ///
    /// # Errors
    /// An unknown name, with the nearest valid one.
    pub fn method_kinds(&self) -> Result<Vec<MethodKind>> {
        self.methods.iter().map(|name| parse_method(name)).collect()
    }
}
