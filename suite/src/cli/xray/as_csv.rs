//! `xray.csv`: every reading, one a line.

use anyhow::Result;

use crate::console::visible;
use crate::measure::xray::reading::{Reading, Xray};
use crate::report::csv_text;

/// Columns of the file. Outputs are counted from 0; the line of all outputs together has none.
pub const COLUMNS: [&str; 8] = ["layer", "tokens", "measure", "task", "output", "value", "low", "high"];

/// The readings as CSV.
pub fn text(xray: &Xray) -> Result<String> {
    let line = |reading: &Reading| {
        let Reading { place, tokens, measure, task, output, value, interval } = reading;
        let (low, high) = interval.unzip();
        let of = (place.to_string(), tokens.to_string(), measure.name(), task.clone());
        (of, *output, *value, low, high)
    };
    Ok(visible(&csv_text(COLUMNS, xray.readings.iter().map(line))?).into_owned())
}
