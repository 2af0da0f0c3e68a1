//! Planted against measured R2.

use anyhow::Result;

use super::plot::{Curve, Figure, Panel, Point, Style, Weight};
use crate::registry::Predictor;
use crate::run_folder::calibration::{Calibration, CalibrationCurve, Planted};
use crate::suite_file::plant::Code;

/// The calibration curves as PNG: one panel per task, one line per code and probe with 95% intervals, and the
/// diagonal, on which a probe would read all that is planted. `None` if there is no curve.
///
/// # Errors
/// A failure of drawing or encoding.
pub fn calibration(title: &str, calibration: &Calibration) -> Result<Option<Vec<u8>>> {
    let curves = calibration.curves();
    let panels = curves.chunk_by(|a, b| a.task == b.task).map(panel).collect();
    Figure { title: title.to_owned(), legend: true, panels }.png()
}

fn panel(curves: &[CalibrationCurve]) -> Panel {
    let point = |x: f64| Point { x, y: x, spread: None };
    let style = Style::Method { index: DIAGONAL, weight: Weight::Thin };
    let diagonal =
        Curve { label: "all that is planted".to_owned(), style, points: [0.0, 1.0].map(point).into() };
    Panel {
        title: curves[0].task.to_owned(),
        x_label: "planted R²",
        y_label: "measured R² (per output)".to_owned(),
        curves: [diagonal].into_iter().chain(curves.iter().map(measured)).collect(),
    }
}

/// Style of the diagonal: black.
const DIAGONAL: usize = 5;

fn measured(curve: &CalibrationCurve) -> Curve {
    let (probe, index) = match curve.predictor {
        Predictor::Linear => ("linear probe", 0),
        _ => ("MLP", 1),
    };
    let index = if curve.code == Code::Plain { index } else { index + 2 };
    let point = |reading: &&Planted| {
        let spread = reading.interval().map(|(low, high)| (high - low) / 2.0);
        Point { x: reading.plant.r2, y: reading.value(), spread }
    };
    Curve {
        label: format!("{} plant, {probe}", curve.code),
        style: Style::Method { index, weight: Weight::Marked },
        points: curve.readings.iter().map(point).collect(),
    }
}
