//! The curves of a run: the loss and the headline of every task against training steps.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use eqr_probes::stats::Summary;

use super::method_style::style_index;
use super::plot::{Curve, Figure, Panel, Point, Style, Weight};
use crate::registry::TaskFamily;
use crate::report::context::ReportContext;
use crate::report::mean::mean;
use crate::report::table::Role;
use crate::report::values::Values;
use crate::run_folder::cell::{Cell, CellKind, CurvePoint};

/// Training curves as PNG: one panel per method, because losses of different methods have different scales.
/// `None` if no pretraining left a curve.
pub fn training(cells: &[Cell], context: &ReportContext) -> Result<Option<Vec<u8>>> {
    let panels: Vec<Panel> =
        numbered(context).filter_map(|(index, method)| training_panel(cells, index, method)).collect();
    let figure = Figure {
        title: format!("{}: training loss, one line a pretraining seed", context.suite),
        legend: false,
        panels,
    };
    figure.png()
}

/// The methods that are trained, each with the index of its style.
fn numbered(context: &ReportContext) -> impl Iterator<Item = (usize, &String)> {
    let trained = context.methods.iter().filter(|method| Role::from_row(method) != Role::Floor);
    trained.map(|method| (style_index(method), method))
}

fn training_panel(cells: &[Cell], index: usize, method: &str) -> Option<Panel> {
    let pretrained = cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && cell.method == method);
    let curve = |cell: &Cell| Curve {
        label: method.to_owned(),
        style: Style::Method { index, weight: Weight::Thin },
        points: loss_points(cell),
    };
    let curves: Vec<Curve> = pretrained.map(curve).filter(|curve| !curve.points.is_empty()).collect();
    let panel =
        Panel { title: method.to_owned(), x_label: "training steps", y_label: "loss".to_owned(), curves };
    (!panel.curves.is_empty()).then_some(panel)
}

fn loss_points(cell: &Cell) -> Vec<Point> {
    let point = |step: u64, loss: f64| Point { x: step as f64, y: loss, spread: None };
    let points = cell.curve.iter().filter_map(|at| Some(point(at.step, *at.terms.get("loss")?)));
    points.filter(|point| point.y.is_finite()).collect()
}

/// Norm of the encoder's gradient by term as PNG: one panel per method, one line per term, means over the
/// pretraining seeds. `None` if it was not measured.
pub fn encoder_gradient(cells: &[Cell], context: &ReportContext) -> Result<Option<Vec<u8>>> {
    let terms: BTreeSet<&String> =
        measured_gradients(cells).flat_map(|point| point.encoder_gradient.keys()).collect();
    let panel = |method: &String| {
        let curve = |(index, term): (usize, &&String)| {
            let points = mean_gradients(cells, method, term);
            let style = Style::Method { index, weight: Weight::Thin };
            (!points.is_empty()).then(|| Curve { label: (*term).clone(), style, points })
        };
        let curves: Vec<Curve> = terms.iter().enumerate().filter_map(curve).collect();
        let y_label = "norm".to_owned();
        (!curves.is_empty()).then(|| Panel {
            title: method.clone(),
            x_label: "training steps",
            y_label,
            curves,
        })
    };
    let panels: Vec<Panel> = context.methods.iter().filter_map(panel).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let title = format!("{}: norm of the encoder's gradient, one line a term of the loss", context.suite);
    Figure { title, legend: true, panels }.png()
}

fn measured_gradients(cells: &[Cell]) -> impl Iterator<Item = &CurvePoint> {
    cells.iter().flat_map(|cell| &cell.curve).filter(|point| !point.encoder_gradient.is_empty())
}

fn mean_gradients(cells: &[Cell], method: &str, term: &str) -> Vec<Point> {
    let mut norms: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for point in cells.iter().filter(|cell| cell.method == method).flat_map(|cell| &cell.curve) {
        if let Some(norm) = point.encoder_gradient.get(term) {
            norms.entry(point.step).or_default().push(*norm);
        }
    }
    norms.iter().map(|(step, norms)| Point { x: *step as f64, y: mean(norms), spread: None }).collect()
}

/// The headline metric of every task against training steps as PNG: one panel per task, one line per method,
/// floor and ceiling as levels. `None` if no encoder was probed during its training.
pub fn probes(cells: &[Cell], context: &ReportContext) -> Result<Option<Vec<u8>>> {
    // a task that is only measured at the end has no curve
    let curved = |panel: &Panel| panel.curves.iter().any(|curve| curve.points.len() > 1);
    let panels: Vec<Panel> =
        context.tasks.iter().map(|task| probe_panel(cells, context, task)).filter(curved).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let title =
        format!("{}: what a probe reads during training (mean ± std over pretraining seeds)", context.suite);
    Figure { title, legend: true, panels }.png()
}

fn probe_panel(cells: &[Cell], context: &ReportContext, task: &str) -> Panel {
    let family = TaskFamily::of_task(task);
    let trained = numbered(context).filter(|(_, method)| Role::from_row(method) == Role::Contestant);
    let mut curves: Vec<Curve> =
        trained.filter_map(|(index, method)| probe_curve(cells, index, method, task)).collect();
    let is_r2 = family == TaskFamily::Transformation;
    let bounds = |role: &Role| *role == Role::Floor || (*role == Role::Ceiling && is_r2);
    let levels = context
        .methods
        .iter()
        .map(|method| (Role::from_row(method), method))
        .filter(|(role, _)| bounds(role));
    curves.extend(levels.filter_map(|(role, method)| level(cells, role, method, task)));
    let headline = family.headline();
    let y_label = if is_r2 {
        "R² (per output)".to_owned()
    } else {
        format!("{} ({})", headline.heading, headline.unit)
    };
    Panel { title: task.to_owned(), x_label: "training steps", y_label, curves }
}

fn probe_curve(cells: &[Cell], index: usize, method: &str, task: &str) -> Option<Curve> {
    let probed = cells.iter().filter(|cell| cell.kind == CellKind::Probe && cell.method == method);
    let steps: BTreeSet<u64> = probed.map(|cell| cell.step).collect();
    let point = |step: u64| {
        let summary = Values::at_step(cells, step).summary(
            method,
            task,
            TaskFamily::of_task(task).headline().metric,
        )?;
        Some(Point { x: step as f64, y: summary.mean, spread: summary.std })
    };
    let points: Vec<Point> = steps.into_iter().filter_map(point).collect();
    let style = Style::Method { index, weight: Weight::Marked };
    (!points.is_empty()).then(|| Curve { label: method.to_owned(), style, points })
}

/// The value of the floor or the ceiling, as a level across all steps.
fn level(cells: &[Cell], role: Role, method: &str, task: &str) -> Option<Curve> {
    let Summary { mean, .. } =
        Values::at_end(cells).summary(method, task, TaskFamily::of_task(task).headline().metric)?;
    let style = if role == Role::Floor { Style::Floor } else { Style::Ceiling };
    let points = vec![Point { x: 0.0, y: mean, spread: None }];
    Some(Curve { label: format!("{method}{}", role.suffix()), style, points })
}
