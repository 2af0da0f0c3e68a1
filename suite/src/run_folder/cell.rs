//! A finished cell: the result of one unit of work in a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::energy::Energy;
use crate::registry::TaskFamily;
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::metric::{Metric, ResampledMetric};
use crate::run_folder::xray::Xray;

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Trains an encoder.
    Pretrain,
    /// Probes a frozen encoder.
    Probe,
    /// Transfers a frozen encoder to a data set by logistic regression.
    Transfer,
    /// Trains a segmentation head on a frozen encoder.
    Segment,
    /// Takes an X-ray of a frozen encoder.
    Xray,
}

impl From<TaskFamily> for CellKind {
    /// The kind of cell that measures tasks of this family.
    fn from(family: TaskFamily) -> CellKind {
        match family {
            TaskFamily::LinearTransfer => CellKind::Transfer,
            TaskFamily::Segmentation => CellKind::Segment,
            _ => CellKind::Probe,
        }
    }
}

/// A point of a training curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps taken.
    pub step: u64,
    /// Loss terms by name, means over the steps since the last point; `loss` is their sum.
    pub terms: BTreeMap<String, f64>,
    /// Norm of the gradient, mean over the same steps; absent in cells of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Norm of the encoder's gradient by term, at this step alone; empty where it was not measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encoder_gradient: BTreeMap<String, f64>,
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Format of this file.
    pub schema: u32,
    /// Unique in the run; the file is `cells/<id>.json`.
    pub id: String,
    /// What was done.
    pub kind: CellKind,
    /// Key of the data set, if the suite has several.
    #[serde(rename = "part", default, skip_serializing_if = "Option::is_none")]
    pub data_set: Option<String>,
    /// Row of the table.
    pub method: String,
    /// Seed of the pretraining.
    pub pretrain_seed: u64,
    /// Steps that the encoder was trained for.
    pub step: u64,
    /// Whether the encoder is from the end of the training. Earlier encoders are points of the curve of R2
    /// against steps.
    pub last: bool,
    /// Values, empty for a pretraining.
    pub metrics: Vec<Metric>,
    /// Training curve, empty for a probe.
    pub curve: Vec<CurvePoint>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Whether the work was interrupted and resumed; `seconds` is then not a valid timing.
    pub resumed: bool,
    /// Whether the encoder was pretrained elsewhere: its seeds do not pair with those of other rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// What an encoder from a file is and how it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderDescription>,
    /// Draws of a bootstrap over test objects, of encoders that were pretrained elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resampled: Vec<ResampledMetric>,
    /// Views that a training has encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<u64>,
    /// Energy of a training that was not interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// What every layer holds, if the cell is an X-ray.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xray: Option<Xray>,
}

impl Cell {
    /// Watt-hours of a million views of a training whose energy was counted.
    pub fn wh_per_million_views(&self) -> Option<f64> {
        self.energy.as_ref()?.per_million(self.views? as f64)
    }
}

/// Version of [`Cell`]'s format.
pub const SCHEMA: u32 = 2;
