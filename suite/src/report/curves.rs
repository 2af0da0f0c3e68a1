//! What goes into the figures: the loss against the step, and the probe's R2 against the step.

use std::collections::BTreeSet;

use anyhow::Result;
use eqr_probes::stats::Summary;

use super::ReportContext;
use super::plot::{Figure, Line, Panel, Point, Style, Weight};
use super::scores::Measure;
use super::table::Role;
use super::values::Values;
use crate::run_folder::cell::{Cell, CellKind};

/// Training curves as PNG: one panel a method, as losses of different methods have different scales. `None` where no
/// pretraining left a curve.
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

/// Methods that train, with the number that decides how their lines look.
fn numbered(context: &ReportContext) -> impl Iterator<Item = (usize, &String)> {
    context.methods.iter().filter(|method| Role::of(method) != Role::Floor).enumerate()
}

fn training_panel(cells: &[Cell], index: usize, method: &str) -> Option<Panel> {
    let pretrained = cells.iter().filter(|cell| cell.kind == CellKind::Pretrain && cell.method == method);
    let line = |cell: &Cell| Line {
        label: method.to_owned(),
        style: Style::Method { index, weight: Weight::Thin },
        points: loss_points(cell),
    };
    let lines: Vec<Line> = pretrained.map(line).filter(|line| !line.points.is_empty()).collect();
    let panel =
        Panel { title: method.to_owned(), x_label: "training steps", y_label: "loss".to_owned(), lines };
    (!panel.lines.is_empty()).then_some(panel)
}

fn loss_points(cell: &Cell) -> Vec<Point> {
    let point = |step: u64, loss: f64| Point { x: step as f64, y: loss, spread: None };
    let points = cell.curve.iter().filter_map(|at| Some(point(at.step, *at.terms.get("loss")?)));
    points.filter(|point| point.y.is_finite()).collect()
}

/// The headline metric of every task against the step as PNG: one panel a task, one line a method, floor and ceiling as
/// levels. `None` where no encoder was probed during its training.
pub fn probes(cells: &[Cell], context: &ReportContext) -> Result<Option<Vec<u8>>> {
    // a task that is only measured at the end has no curve
    let curved = |panel: &Panel| panel.lines.iter().any(|line| line.points.len() > 1);
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
    let measure = Measure::of(task);
    let trained = numbered(context).filter(|(_, method)| Role::of(method) == Role::Contestant);
    let mut lines: Vec<Line> =
        trained.filter_map(|(index, method)| probe_line(cells, index, method, task)).collect();
    let bounds = |role: &Role| *role == Role::Floor || (*role == Role::Ceiling && measure == Measure::R2);
    let levels =
        context.methods.iter().map(|method| (Role::of(method), method)).filter(|(role, _)| bounds(role));
    lines.extend(levels.filter_map(|(role, method)| level(cells, role, method, task)));
    let y_label = match measure {
        Measure::Top1 => "top-1 (fraction)".to_owned(),
        Measure::R2 => "R² (per output)".to_owned(),
    };
    Panel { title: task.to_owned(), x_label: "training steps", y_label, lines }
}

fn probe_line(cells: &[Cell], index: usize, method: &str, task: &str) -> Option<Line> {
    let probed = cells.iter().filter(|cell| cell.kind == CellKind::Probe && cell.method == method);
    let steps: BTreeSet<u64> = probed.map(|cell| cell.step).collect();
    let point = |step: u64| {
        let summary = Values::at_step(cells, step).summary(method, task, Measure::of(task).headline())?;
        Some(Point { x: step as f64, y: summary.mean, spread: summary.std })
    };
    let points: Vec<Point> = steps.into_iter().filter_map(point).collect();
    let style = Style::Method { index, weight: Weight::Marked };
    (!points.is_empty()).then(|| Line { label: method.to_owned(), style, points })
}

/// The value of a method that stands for the floor or the ceiling, whatever its step.
fn level(cells: &[Cell], role: Role, method: &str, task: &str) -> Option<Line> {
    let Summary { mean, .. } = Values::of(cells).summary(method, task, Measure::of(task).headline())?;
    let style = if role == Role::Floor { Style::Floor } else { Style::Ceiling };
    let points = vec![Point { x: 0.0, y: mean, spread: None }];
    Some(Line { label: format!("{method}{}", role.suffix()), style, points })
}
