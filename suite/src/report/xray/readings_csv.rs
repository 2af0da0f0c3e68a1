//! The readings of an X-ray as CSV, one a line.

use anyhow::Result;

use crate::console::visible;
use crate::report::csv_text;
use crate::run_folder::xray::{Reading, Xray};

/// Columns of the file. Outputs are counted from 0; the line of all outputs together has none.
pub const COLUMNS: [&str; 8] = ["layer", "tokens", "measure", "task", "output", "value", "low", "high"];

/// The readings as CSV.
pub fn text(xray: &Xray) -> Result<String> {
    let line = |Reading { layer, tokens, measure, task, output, value, ci95 }: &Reading| {
        let (low, high) = ci95.unzip();
        (layer.clone(), tokens.clone(), measure.name(), task.clone(), *output, *value, low, high)
    };
    Ok(visible(&csv_text(COLUMNS, xray.readings.iter().map(line))?).into_owned())
}
