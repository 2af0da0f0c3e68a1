//! A finished cell: what one unit of work of a run found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run_folder::metric::Metric;

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Trains an encoder.
    Pretrain,
    /// Probes a frozen one.
    Probe,
    /// Transfers a frozen one to a set by logistic regression.
    Transfer,
    /// Trains a segmentation head on a frozen one.
    Segment,
}

/// A point of a training curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps taken.
    pub step: u64,
    /// Loss terms by name, means over the steps since the last point, with `loss` their sum.
    pub terms: BTreeMap<String, f64>,
    /// Norm of the gradient, mean over the same steps; absent in cells of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Format of this file.
    pub schema: u32,
    /// Unique in the run; also the file's name.
    pub id: String,
    /// What was done.
    pub kind: CellKind,
    /// Key of the data set, where the suite has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Row of the table.
    pub method: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Steps the probed encoder had been trained for (of a pretraining: steps in all).
    pub step: u64,
    /// Whether this is the end of the training; earlier probes only stand in the curve of R2 against steps.
    pub last: bool,
    /// Values, empty for a pretraining.
    pub metrics: Vec<Metric>,
    /// Training curve, empty for a probe.
    pub curve: Vec<CurvePoint>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Whether the work was interrupted and resumed: then `seconds` is no timing.
    pub resumed: bool,
    /// Whether the encoder is not this run's: its seeds do not pair with those of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
}

/// Version of [`Cell`]'s format.
pub const SCHEMA: u32 = 1;
