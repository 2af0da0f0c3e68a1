//! The figures of a report.

pub mod calibration;
mod curves;
pub mod method_style;
pub mod plot;

use anyhow::Result;

use crate::report::context::ReportContext;
use crate::report::planted_values;
use crate::report::values::Values;
use crate::run_folder::cell::Cell;

/// Name and PNG of every figure of a data set that has data to show.
///
/// # Errors
/// A failure of drawing or encoding.
pub fn all(cells: &[Cell], context: &ReportContext) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let planted = planted_values::calibration(&Values::at_end(cells), context);
    let title = format!("{}: what probes read of planted encoders (95% over test objects)", context.suite);
    let figures = [
        ("training-curves", curves::training(cells, context)?),
        ("encoder-gradient", curves::encoder_gradient(cells, context)?),
        ("probe-curve", curves::probes(cells, context)?),
        ("calibration", calibration::calibration(&title, &planted)?),
    ];
    Ok(figures.into_iter().filter_map(|(name, png)| Some((name, png?))).collect())
}
