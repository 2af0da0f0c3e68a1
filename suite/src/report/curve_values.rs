//! Values that follow from the curves of trainings: gradients by term, and whether a training is at its end.

use std::collections::BTreeMap;

use crate::registry::R2Metric;
use crate::report::mean::mean;
use crate::report::quantity::Quantity;
use crate::run_folder::cell::{Cell, CellKind, CurvePoint};
use crate::run_folder::metric::Metric;

/// A value of a pretraining seed.
pub struct CurveValue<'a> {
    pub method: &'a str,
    pub quantity: Quantity,
    pub seed: u64,
    pub value: f64,
}

/// All values that follow from the curves of `cells`.
pub fn curve_values(cells: &[Cell]) -> Vec<CurveValue<'_>> {
    let trainings = || cells.iter().filter(|cell| cell.kind == CellKind::Pretrain);
    let fall = |cell| Some(value(cell, Quantity::loss_fall(), loss_fall(cell)?));
    trainings()
        .flat_map(encoder_gradients)
        .chain(trainings().filter_map(fall))
        .chain(late_gains(cells))
        .collect()
}

fn value(cell: &Cell, quantity: Quantity, value: f64) -> CurveValue<'_> {
    CurveValue { method: &cell.method, quantity, seed: cell.pretrain_seed, value }
}

/// Norm of the encoder's gradient by term, mean over the steps at which it was measured.
fn encoder_gradients(cell: &Cell) -> impl Iterator<Item = CurveValue<'_>> {
    let mut norms: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (term, norm) in cell.curve.iter().flat_map(|point| &point.encoder_gradient) {
        norms.entry(term).or_default().push(*norm);
    }
    norms.into_iter().map(|(term, norms)| value(cell, Quantity::encoder_gradient(term), mean(&norms)))
}

/// The share of its loss that a training took off in its last third. Each loss is a mean over a tenth of the
/// steps, because the loss of a step is noisy.
fn loss_fall(cell: &Cell) -> Option<f64> {
    let loss = |to: f64| {
        let within = |point: &&CurvePoint| {
            let done = point.step as f64 / cell.step as f64;
            done > to - 0.1 && done <= to
        };
        let losses: Vec<f64> =
            cell.curve.iter().filter(within).filter_map(|point| point.terms.get("loss").copied()).collect();
        (!losses.is_empty()).then(|| mean(&losses))
    };
    Some(1.0 - loss(1.0)? / loss(2.0 / 3.0)?)
}

/// The R2 of one task in the probe cells of a training.
type ProbeCurve<'a> = Vec<(&'a Cell, f64)>;

/// What the headline R2 of every transformation gained in the last third of each finished training that was
/// probed on its way. All points are of the first probe seed, which is the only one on the way.
fn late_gains(cells: &[Cell]) -> impl Iterator<Item = CurveValue<'_>> {
    let headline = R2Metric::PER_OUTPUT.to_string();
    let mut curves: BTreeMap<(&str, &str, u64), ProbeCurve> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.kind == CellKind::Probe) {
        let is_headline = |metric: &&Metric| metric.metric == headline && metric.eval_seed == Some(0);
        for metric in cell.metrics.iter().filter(is_headline) {
            let curve = curves.entry((&cell.method, &metric.task, cell.pretrain_seed)).or_default();
            curve.push((cell, metric.value));
        }
    }
    curves.into_iter().filter_map(|((method, task, seed), mut curve)| {
        curve.sort_by_key(|(cell, _)| cell.step);
        let (end, last) = *curve.last().filter(|(cell, _)| cell.last)?;
        let points: Vec<(f64, f64)> = curve.iter().map(|(cell, r2)| (cell.step as f64, *r2)).collect();
        let value = last - interpolated(&points, end.step as f64 * 2.0 / 3.0)?;
        Some(CurveValue { method, quantity: Quantity::late_gain(task), seed, value })
    })
}

/// The value at `x` of the line through `points`, which ascend; `None` outside of them.
fn interpolated(points: &[(f64, f64)], x: f64) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        (x0..=x1).contains(&x).then(|| y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{pretrain, probe, value as metric};
    use crate::report::values::Values;

    fn of(cells: &[Cell], quantity: &Quantity) -> Option<f64> {
        Values::at_end(cells).sample("Ours", quantity).map(|sample| sample.values()[0])
    }

    /// 100 steps: the loss around step 66 is 2, at the end 1.5.
    #[test]
    fn the_loss_that_the_last_third_took_off() {
        let cell = pretrain("Ours", 0, &[(20, 9.0), (60, 2.1), (65, 1.9), (80, 1.7), (95, 1.6), (100, 1.4)]);
        assert!((of(&[cell], &Quantity::loss_fall()).unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(of(&[pretrain("Ours", 0, &[(100, 1.4)])], &Quantity::loss_fall()), None);
    }

    /// At two thirds of 90 steps the line from 0.3 (step 30) to 0.5 (step 70) is at 0.45.
    #[test]
    fn what_a_probe_gained_in_the_last_third() {
        let at = |step: u64, r2: f64| Cell {
            step,
            last: step == 90,
            ..probe("Ours", 0, &[metric("rotation", "r2_per_output", 0, r2)])
        };
        let cells = [at(30, 0.3), at(70, 0.5), at(90, 0.52)];
        assert!((of(&cells, &Quantity::late_gain("rotation")).unwrap() - 0.07).abs() < 1e-12);
        assert_eq!(of(&cells[2..], &Quantity::late_gain("rotation")), None);
        assert_eq!(of(&cells[..2], &Quantity::late_gain("rotation")), None, "the training goes on");
    }
}
