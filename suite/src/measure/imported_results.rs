//! Results that were measured elsewhere: a CSV file with the columns of `metrics.csv`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::console::one_line;
use crate::registry::{Better, TaskFamily, better};
use crate::run_folder::cell::CellKind;
use crate::run_folder::csv_text::unguarded;
use crate::run_folder::metric::{Metric, ValueOrigin};
use crate::run_folder::{metrics_file, value_range};

/// Number of names that a message lists.
const NAMED: usize = 20;

/// A row of the file.
#[derive(Deserialize)]
struct ImportedValue {
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

/// The values of the method and data set of `origin` that belong in a cell of `kind`. The file needs the
/// columns `dataset`, `task`, `metric` and `value`; it may have `method` (rows of other methods are ignored),
/// `pretrain_seed`, `eval_seed`, `unit` and `better`.
///
/// # Errors
/// A file or a row that cannot be read, a value that its metric cannot have, no row of this method on this
/// data set.
pub fn metrics(path: &Path, origin: &ValueOrigin, kind: CellKind) -> Result<Vec<Metric>> {
    let all = read(path, &origin.method)?;
    let wanted = |value: &&ImportedValue| {
        value.method == origin.method && value.dataset == origin.dataset && value.cell_kind() == kind
    };
    let found: Vec<Metric> = all.iter().filter(wanted).map(|value| value.metric(origin)).collect();
    ensure!(
        !found.is_empty(),
        "{}: no row of `{}` on {}\nhint: the file has {}",
        path.display(),
        origin.method,
        origin.dataset,
        what_it_has(&all)
    );
    Ok(found)
}

/// What the rows are of, as far as it is little, in one line.
fn what_it_has(rows: &[ImportedValue]) -> String {
    let names = rows.iter().map(|row| format!("{}, {} on {}", row.method, row.task, row.dataset));
    let names = names.collect::<BTreeSet<_>>();
    let more = names.len().saturating_sub(NAMED);
    let named = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    match more {
        0 if named.is_empty() => "no rows".to_owned(),
        0 => one_line(&named).into_owned(),
        more => format!("{}, and {more} more", one_line(&named)),
    }
}

/// The data sets on which `method` has values that belong in a cell of `kind`.
///
/// # Errors
/// A file or a row that cannot be read, a value that its metric cannot have.
pub fn data_sets(path: &Path, method: &str, kind: CellKind) -> Result<BTreeSet<String>> {
    let own =
        read(path, method)?.into_iter().filter(|value| value.method == method && value.cell_kind() == kind);
    Ok(own.map(|value| value.dataset).collect())
}

/// All rows. Rows without a method get `method`.
fn read(path: &Path, method: &str) -> Result<Vec<ImportedValue>> {
    let place = || path.display().to_string();
    let mut reader = metrics_file::open(path)?;
    let mut values = Vec::new();
    for (i, row) in reader.deserialize().enumerate() {
        let mut value: ImportedValue =
            row.map_err(|error| anyhow!("{}: {error}\n{}", place(), metrics_file::HINT))?;
        for text in [&mut value.dataset, &mut value.task, &mut value.method, &mut value.metric] {
            *text = unguarded(text).to_owned();
        }
        value_range::check(&value.task, &value.metric, value.value)
            .with_context(|| format!("{}: row {}: {}", place(), i + 1, value.dataset))?;
        if value.method.is_empty() {
            method.clone_into(&mut value.method);
        }
        values.push(value);
    }
    Ok(values)
}

impl ImportedValue {
    /// The kind of cell that the value belongs in.
    fn cell_kind(&self) -> CellKind {
        TaskFamily::of_task(&self.task).into()
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
            better: self.better.unwrap_or_else(|| better(&self.task, &self.metric)),
            cell: origin.cell.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str, row: &str, dataset: &str) -> Result<Vec<Metric>> {
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
        let found = imported(text, "DINO", "CIFAR10").unwrap();
        let values: Vec<(u64, f64)> =
            found.iter().map(|metric| (metric.pretrain_seed, metric.value)).collect();
        assert_eq!(values, [(0, 0.5), (1, 0.6)]);
        assert_eq!(
            (found[0].suite.as_str(), found[0].table.as_str(), found[0].better),
            ("own", "4", Better::Higher)
        );
        let message = format!("{:#}", imported(text, "DINOv2", "CIFAR10").unwrap_err());
        assert!(
            message.contains("no row of `DINOv2` on CIFAR10") && message.contains("MAE, rotation on CIFAR10"),
            "{message}"
        );
    }

    #[test]
    fn a_spreadsheets_rows_are_taken() {
        let text = "dataset;task;metric;value\nC;rotation;r2_per_output;0,75\n";
        assert_eq!(imported(text, "X", "C").unwrap()[0].value, 0.75);
    }

    #[test]
    fn what_was_written_as_no_formula_is_read_as_it_was() {
        let text = "dataset,task,method,metric,value\n'=1+2,rotation,'@me,r2,0.5\n";
        let found = imported(text, "@me", "=1+2").unwrap();
        assert_eq!((found[0].dataset.as_str(), found[0].method.as_str()), ("=1+2", "@me"));
    }

    #[test]
    fn broken_rows_are_refused() {
        for (text, says) in [
            ("dataset,task,metric\nC,rotation,r2\n", "value"),
            ("dataset,task,metric,value\nC,rotation,r2,much\n", "line: 2"),
            ("dataset;task;metric;value\nC;rotation;r2;much\n", "line: 2"),
            ("dataset,task,metric,value\nC,rotation,r2,0,5\n", "decimal commas need `;`"),
            ("dataset,task,metric,value\nC,rotation,r2,NaN\n", "row 1: C: rotation r2 is NaN: must be"),
            ("dataset,task,metric,value\nC,rotation,r2,1.5\n", "r2 is 1.5: must be a number of at most 1"),
            (
                "dataset,task,metric,value\nC,classification,top1,74\n",
                "write percents as fractions: 0.74 for 74%",
            ),
            ("dataset,task,metric,value\n", "no row of `X` on C"),
        ] {
            let message = format!("{:#}", imported(text, "X", "C").unwrap_err());
            assert!(message.contains(says), "{message}");
        }
    }
}
