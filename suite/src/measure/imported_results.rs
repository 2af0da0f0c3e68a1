//! Results that were measured elsewhere: a CSV file with the columns of `metrics.csv`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::run_folder::cell::CellKind;
use crate::run_folder::metric::{Better, Metric, ValueOrigin};

/// A line of `metrics.csv`, what nobody but this program needs left out.
#[derive(Deserialize)]
pub(crate) struct Line {
    dataset: String,
    task: String,
    #[serde(default)]
    method: String,
    metric: String,
    #[serde(default)]
    pretrain_seed: u64,
    eval_seed: Option<u64>,
    value: f64,
    unit: Option<String>,
    better: Option<Better>,
}

/// The values of a method on a data set, those of `origin` that belong into a cell of this kind, out of a CSV file with the columns of `metrics.csv`: `dataset`, `task`,
/// `metric` and `value`, and where there are such `method` (rows of other names are passed over), `pretrain_seed`, `eval_seed`, `unit`
/// and `better`.
///
/// # Errors
/// A file that cannot be read, a line that is not such, a value that is not finite, no row at all of this method and this set.
pub fn metrics(path: &Path, origin: &ValueOrigin, kind: CellKind) -> Result<Vec<Metric>> {
    let lines = lines(path, &origin.method)?;
    let of_method = |line: &&Line| line.method == origin.method;
    let others =
        lines.iter().map(|line| format!("{}, {} on {}", line.method, line.task, line.dataset)).collect::<BTreeSet<_>>();
    let wanted = |line: &&Line| line.dataset == origin.dataset && line.kind() == kind;
    let own = lines.iter().filter(of_method).filter(wanted);
    let found: Vec<Metric> = own.map(|line| line.metric(origin)).collect();
    ensure!(
        !found.is_empty(),
        "{}: no row of `{}` on {}\nhint: the file has {}",
        path.display(),
        origin.method,
        origin.dataset,
        if others.is_empty() { "no row at all".to_owned() } else { Vec::from_iter(others).join(", ") }
    );
    Ok(found)
}

/// The data sets that a method has rows of this kind on.
///
/// # Errors
/// As [`metrics`], but for the last.
pub fn datasets(path: &Path, method: &str, kind: CellKind) -> Result<BTreeSet<String>> {
    let own = lines(path, method)?.into_iter().filter(|line| line.method == method && line.kind() == kind);
    Ok(own.map(|line| line.dataset).collect())
}

/// All lines; those without a method are of `method`.
pub(crate) fn lines(path: &Path, method: &str) -> Result<Vec<Line>> {
    let place = || path.display().to_string();
    let mut reader = csv::Reader::from_path(path).with_context(place)?;
    let mut lines = Vec::new();
    for (i, line) in reader.deserialize().enumerate() {
        let mut line: Line = line.map_err(|error| {
            let hint = "hint: the columns dataset, task, metric and value are needed, as in a run's metrics.csv";
            anyhow!("{}: {error}\n{hint}", place())
        })?;
        ensure!(line.value.is_finite(), "{}: row {}: value {} is not a finite number", place(), i + 1, line.value);
        if line.method.is_empty() {
            method.clone_into(&mut line.method);
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Which way a metric is better, by its name.
pub(crate) fn better(metric: &str) -> Better {
    let lower = metric.starts_with("mse") || metric == "pre" || metric.starts_with("pre_");
    if lower { Better::Lower } else { Better::Higher }
}

impl Line {
    /// The kind of cell that such a value stands in.
    fn kind(&self) -> CellKind {
        match self.task.as_str() {
            "linear transfer" => CellKind::Transfer,
            "segmentation" => CellKind::Segment,
            _ => CellKind::Probe,
        }
    }

    fn metric(&self, origin: &ValueOrigin) -> Metric {
        Metric {
            suite: origin.suite.to_owned(),
            table: origin.table.map_or("-".to_owned(), |table| table.to_string()),
            dataset: self.dataset.clone(),
            task: self.task.clone(),
            method: self.method.clone(),
            metric: self.metric.clone(),
            pretrain_seed: self.pretrain_seed,
            eval_seed: self.eval_seed,
            value: self.value,
            unit: self.unit.clone().unwrap_or_else(|| "-".to_owned()),
            better: self.better.unwrap_or_else(|| better(&self.metric)),
            cell: origin.cell.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, row: &str, dataset: &str) -> Result<Vec<Metric>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        let (method, cell) = (row.to_owned(), "probe-external-x");
        let origin = ValueOrigin { suite: "own", table: Some(4), dataset, method, pretrain_seed: 0, cell };
        metrics(&path, &origin, CellKind::Probe)
    }

    #[test]
    fn rows_of_the_method_and_the_set_are_taken() {
        let text = "dataset,task,method,metric,pretrain_seed,value\n\
                    CIFAR10,rotation,DINO,r2_per_output,0,0.5\nCIFAR10,rotation,DINO,r2_per_output,1,0.6\n\
                    CIFAR10,rotation,MAE,r2_per_output,0,0.4\nSTL,rotation,DINO,r2_per_output,0,0.9\n";
        let found = read(text, "DINO", "CIFAR10").unwrap();
        let values: Vec<(u64, f64)> = found.iter().map(|metric| (metric.pretrain_seed, metric.value)).collect();
        assert_eq!(values, [(0, 0.5), (1, 0.6)]);
        assert_eq!((found[0].suite.as_str(), found[0].table.as_str(), found[0].better), ("own", "4", Better::Higher));
        let message = format!("{:#}", read(text, "DINOv2", "CIFAR10").unwrap_err());
        assert!(
            message.contains("no row of `DINOv2` on CIFAR10") && message.contains("MAE, rotation on CIFAR10"),
            "{message}"
        );
    }

    #[test]
    fn broken_lines_are_refused() {
        for (text, says) in [
            ("dataset,task,metric\nC,rotation,r2\n", "value"),
            ("dataset,task,metric,value\nC,rotation,r2,much\n", "line: 2"),
            ("dataset,task,metric,value\nC,rotation,r2,NaN\n", "row 1: value NaN"),
            ("dataset,task,metric,value\n", "no row of `X` on C"),
        ] {
            let message = format!("{:#}", read(text, "X", "C").unwrap_err());
            assert!(message.contains(says), "{message}");
        }
    }
}
