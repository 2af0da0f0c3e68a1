//! A calibration for people: a table for each task and code, and the detection limits, within 80 columns.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use eqr_probes::mlp::ProbeConfig;

use crate::cli::calibrate::calibrated::{Calibrated, probe_name};
use crate::console::one_line;
use crate::run_folder::calibration::{CalibrationCurve, Planted};

/// The tables, and from where on each probe tells what is planted from nothing.
pub fn text(calibrated: &Calibrated) -> String {
    let Calibrated { data, features, probe, calibration } = calibrated;
    let curves = calibration.curves();
    let tables: String =
        curves.chunk_by(|a, b| (a.task, a.code) == (b.task, b.code)).map(table_of_code).collect();
    let ProbeConfig { hidden, epochs, .. } = probe.regression;
    let head = format!(
        "{}: {} training pairs, {} test pairs, {features} features\n\
         MLP probe: width {hidden}, {epochs} epochs, seeds: {}\n\
         R2* yes: the 95% interval over test objects holds the R2 that is attainable\n\
         planted 0: mean and range of several encoders\n",
        one_line(data),
        probe.train_pairs,
        probe.test_pairs,
        probe.seeds
    );
    let limits: String = curves.iter().map(limit).collect();
    format!(
        "{head}{tables}\nDetection limit: the planted R2 from which on the interval lies above what the\n\
         probe reads of every encoder without the parameters\n{limits}"
    )
}

/// The curves of one task and code, side by side.
fn table_of_code(curves: &[CalibrationCurve]) -> String {
    let mut table = Table::new();
    let probes =
        curves.iter().flat_map(|curve| [format!("{} probe", probe_name(curve.predictor)), "R2*".into()]);
    table.load_preset(ASCII_MARKDOWN).set_header(["planted R2".to_owned()].into_iter().chain(probes));
    for (row, first) in curves[0].readings.iter().enumerate() {
        let cells = curves.iter().flat_map(|curve| cells(curve.readings[row]));
        table.add_row([format!("{}", first.plant.r2)].into_iter().chain(cells));
    }
    format!("\n{}, {} plant:\n{table}\n", curves[0].task, curves[0].code)
}

/// What was measured, and whether its interval holds what is attainable.
fn cells(reading: &Planted) -> [String; 2] {
    let interval =
        reading.interval().map(|(low, high)| format!(" [{low:.3}, {high:.3}]")).unwrap_or_default();
    let holds = match reading.holds_attainable() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    [format!("{:.3}{interval}", reading.value()), holds.to_owned()]
}

fn limit(curve: &CalibrationCurve) -> String {
    let what = format!("{}, {} plant, {} probe", curve.task, curve.code, probe_name(curve.predictor));
    format!("{what:>36}  {}\n", curve.detection_limit())
}
