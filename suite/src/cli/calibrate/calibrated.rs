//! What the forms of a calibration show.

use crate::registry::Predictor;
use crate::run_folder::calibration::Calibration;
use crate::suite_file::probe::Probe;

/// A calibration and what it is of.
pub(super) struct Calibrated {
    /// Name of the data set.
    pub(super) data: String,
    /// Length of y.
    pub(super) features: usize,
    pub(super) probe: Probe,
    pub(super) calibration: Calibration,
}

/// Name of a probe in tables, CSV and JSON.
pub(super) fn probe_name(predictor: Predictor) -> &'static str {
    if predictor == Predictor::Linear { "linear" } else { "mlp" }
}
