//! A calibration as JSON: what was probed how, every reading, and the detection limits.

use serde_json::{Value, json};

use crate::cli::calibrate::calibrated::{Calibrated, probe_name};
use crate::run_folder::calibration::{CalibrationCurve, DetectionLimit, Planted};

/// The calibration as a JSON object.
pub fn text(Calibrated { data, features, probe, calibration }: &Calibrated) -> String {
    let curves = calibration.curves();
    let all = json!({
        "data": data,
        "features": features,
        "train_pairs": probe.train_pairs,
        "test_pairs": probe.test_pairs,
        "seeds": probe.seeds,
        "mlp": probe.regression,
        "curves": curves.iter().map(curve).collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}

fn curve(curve: &CalibrationCurve) -> Value {
    let reading = |reading: &&Planted| {
        json!({
            "planted": reading.plant.r2,
            "attainable": reading.attainable(),
            "r2_per_output": reading.value(),
            "interval": reading.interval(),
        })
    };
    let limit = match curve.detection_limit() {
        DetectionLimit::At(planted) => Some(planted),
        DetectionLimit::Never | DetectionLimit::Unknown => None,
    };
    json!({
        "task": curve.task,
        "plant": curve.code.to_string(),
        "probe": probe_name(curve.predictor),
        "most_of_nothing": curve.most_of_nothing(),
        "detection_limit": limit,
        "readings": curve.readings.iter().map(reading).collect::<Vec<Value>>(),
    })
}
