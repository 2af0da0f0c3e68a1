//! Made-up cells for the tests of this folder.

use std::collections::BTreeMap;

use super::formats::by_name;
use super::{Report, ReportContext};
use crate::registry::{Better, TaskFamily};
use crate::run_folder::cell::{Cell, CellKind, CurvePoint, SCHEMA};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::metric::Metric;
use crate::suite_file::scale::Scale;

/// A context with these tasks as columns and these methods as rows.
pub fn context(tasks: &[&str], methods: &[&str]) -> ReportContext {
    ReportContext {
        part: None,
        suite: "tiny".to_owned(),
        title: "A tiny suite".to_owned(),
        scale: Scale::Reduced,
        table: None,
        tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        compare: vec![],
        claims: vec![],
        looks: None,
        transfers: vec![],
        segmentations: vec![],
        notes: vec![],
        protocol: vec![],
    }
}

/// The report of a run that consists only of these cells.
pub fn rendered(cells: &[Cell], context: &ReportContext, format: &str) -> String {
    let folder = RunFolder::new("nowhere");
    Report::new(&folder, cells, &[context]).render(by_name(format).expect("a format's name")).unwrap()
}

/// A probe cell with the headlines of rotation and color.
pub fn rotation_and_color(method: &str, seed: u64, rotation: f64, color: f64) -> Cell {
    let headline = |task, r2| value(task, "r2_per_output", 0, r2);
    probe(method, seed, &[headline("rotation", rotation), headline("color", color)])
}

/// A value. [`probe`] fills in its origin.
pub fn value(task: &str, metric: &str, eval_seed: u64, value: f64) -> Metric {
    Metric {
        suite: "tiny".to_owned(),
        table: "1".to_owned(),
        dataset: "solids".to_owned(),
        task: task.to_owned(),
        method: String::new(),
        metric: metric.to_owned(),
        pretrain_seed: 0,
        eval_seed: Some(eval_seed),
        value,
        unit: "R2".to_owned(),
        better: Better::Higher,
        cell: String::new(),
    }
}

/// The probe cell of a fully trained encoder.
pub fn probe(method: &str, seed: u64, metrics: &[Metric]) -> Cell {
    let id = format!("probe-{method}-{seed}");
    let owned = |metric: &Metric| Metric {
        method: method.to_owned(),
        pretrain_seed: seed,
        cell: id.clone(),
        ..metric.clone()
    };
    Cell {
        kind: CellKind::Probe,
        metrics: metrics.iter().map(owned).collect(),
        id: id.clone(),
        ..cell(method, seed)
    }
}

/// A transfer or segmentation cell with the data set, metric and value of each measurement.
pub fn downstream(kind: CellKind, method: &str, seed: u64, values: &[(&str, &str, f64)]) -> Cell {
    let family =
        if kind == CellKind::Transfer { TaskFamily::LinearTransfer } else { TaskFamily::Segmentation };
    let metric = |(set, metric, number): &(&str, &str, f64)| Metric {
        dataset: (*set).to_owned(),
        ..value(family.name(), metric, 0, *number)
    };
    Cell { kind, ..probe(method, seed, &values.iter().map(metric).collect::<Vec<_>>()) }
}

/// A pretraining cell with these losses at these steps.
pub fn pretrain(method: &str, seed: u64, losses: &[(u64, f64)]) -> Cell {
    let point = |(step, loss): &(u64, f64)| CurvePoint {
        step: *step,
        terms: BTreeMap::from([("loss".into(), *loss)]),
        gradient_norm: None,
        encoder_gradient: BTreeMap::new(),
    };
    let id = format!("pretrain-{method}-{seed}");
    Cell { kind: CellKind::Pretrain, curve: losses.iter().map(point).collect(), id, ..cell(method, seed) }
}

fn cell(method: &str, seed: u64) -> Cell {
    Cell {
        schema: SCHEMA,
        id: String::new(),
        kind: CellKind::Probe,
        data_set: None,
        method: method.to_owned(),
        pretrain_seed: seed,
        step: 100,
        last: true,
        metrics: vec![],
        curve: vec![],
        seconds: 1.0,
        resumed: false,
        external: false,
        encoder: None,
        resampled: Vec::new(),
        views: None,
        energy: None,
        xray: None,
    }
}
