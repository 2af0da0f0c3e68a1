//! Made-up cells for the tests of this folder.

use std::collections::BTreeMap;

use super::{ReportContext, Scale};
use crate::registry::Better;
use crate::run_folder::cell::{Cell, CellKind, CurvePoint, SCHEMA};
use crate::run_folder::metric::Metric;

/// A context with these columns and rows.
pub fn context(tasks: &[&str], methods: &[&str]) -> ReportContext {
    ReportContext {
        part: None,
        suite: "tiny".to_owned(),
        title: "A tiny suite".to_owned(),
        scale: Scale::Reduced,
        table: None,
        tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        transfers: vec![],
        segmentations: vec![],
        notes: vec![],
        protocol: vec![],
    }
}

/// A value; [`probe`] fills in whose it is.
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

/// A probe of a fully trained encoder.
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

/// A pretraining with this loss at these steps.
pub fn pretrain(method: &str, seed: u64, losses: &[(u64, f64)]) -> Cell {
    let point = |(step, loss): &(u64, f64)| CurvePoint {
        step: *step,
        terms: BTreeMap::from([("loss".into(), *loss)]),
        gradient_norm: None,
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
    }
}
