//! An X-ray as JSON: what it is of, and every reading.

use serde_json::{Value, json};

use crate::cli::xray::picture::Picture;
use crate::measure::xray::reading::{Reading, Xray};

/// The X-ray as a JSON object.
pub fn text(Picture { description, data, xray, .. }: &Picture) -> String {
    let Xray { pairs: [train, test], objects, readings } = xray;
    let reading = |reading: &Reading| {
        json!({
            "layer": reading.place.to_string(),
            "tokens": reading.tokens.to_string(),
            "measure": reading.measure.name(),
            "task": reading.task,
            "output": reading.output,
            "value": reading.value,
            "ci95": reading.interval,
        })
    };
    let all = json!({
        "encoder": description,
        "data": data,
        "train_pairs": train,
        "test_pairs": test,
        "test_objects": objects,
        "readings": readings.iter().map(reading).collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}
