//! `calibration.csv`: every reading, one a line.

use anyhow::Result;

use crate::cli::calibrate::calibrated::probe_name;
use crate::report::csv_text;
use crate::run_folder::calibration::Calibration;

/// Columns of the file. `attainable` is empty where it has no simple form.
pub const COLUMNS: [&str; 8] = ["task", "plant", "planted", "probe", "attainable", "value", "low", "high"];

/// The readings as CSV.
pub fn text(calibration: &Calibration) -> Result<String> {
    let curves = calibration.curves();
    let lines = curves.iter().flat_map(|curve| {
        curve.readings.iter().map(move |reading| {
            let what = (curve.task, curve.code.to_string(), reading.plant.r2, probe_name(curve.predictor));
            let (low, high) = reading.interval().unzip();
            (what, reading.attainable(), reading.value(), low, high)
        })
    });
    csv_text(COLUMNS, lines)
}
