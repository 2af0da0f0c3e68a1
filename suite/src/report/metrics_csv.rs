//! `metrics.csv`: every value of a run.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::console::visible;
use crate::run_folder::cell::{Cell, CellKind};
use crate::run_folder::csv_text::guarded;
use crate::run_folder::metric::Metric;

/// Columns of `metrics.csv`, in the order in which a metric is written.
const METRICS: [&str; 12] = [
    "suite",
    "table",
    "dataset",
    "task",
    "method",
    "metric",
    "pretrain_seed",
    "eval_seed",
    "value",
    "unit",
    "better",
    "cell",
];

/// Every value of the fully trained encoders, sorted so that the same cells give the same file.
///
/// # Errors
/// A value that cannot be written.
pub fn metrics(cells: &[Cell]) -> Result<String> {
    let measured = cells.iter().filter(|cell| cell.kind != CellKind::Pretrain && cell.last);
    let mut metrics: Vec<&Metric> = measured.flat_map(|cell| &cell.metrics).collect();
    metrics.sort_by(|a, b| order(a).cmp(&order(b)).then(a.value.total_cmp(&b.value)));
    Ok(visible(&csv_text(METRICS, metrics.into_iter().map(line))?).into_owned())
}

/// A value as a line of the file.
fn line(metric: &Metric) -> impl Serialize + '_ {
    let Metric { pretrain_seed, eval_seed, value, unit, better, cell, .. } = metric;
    let [suite, table, dataset, task, method, name] =
        [&metric.suite, &metric.table, &metric.dataset, &metric.task, &metric.method, &metric.metric]
            .map(|text| guarded(text));
    let of = (suite, table, dataset, task, method, name, pretrain_seed, eval_seed);
    (of, value, guarded(unit), better, guarded(cell))
}

fn order(metric: &Metric) -> impl Ord + '_ {
    let place = (&metric.suite, &metric.table, &metric.dataset, &metric.task, &metric.method, &metric.metric);
    (place, metric.pretrain_seed, metric.eval_seed, &metric.cell)
}

/// Header and rows as CSV. The header is written even if there are no rows.
///
/// # Errors
/// A row that cannot be written.
pub fn csv_text<R: Serialize>(
    header: impl IntoIterator<Item = &'static str>,
    rows: impl IntoIterator<Item = R>,
) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.serialize(row)?;
    }
    let bytes = writer.into_inner().context("cannot write CSV to memory")?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{pretrain, probe, value};
    use super::*;

    #[test]
    fn metrics_are_sorted_and_only_of_the_end() {
        let mut early = probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.9)]);
        early.last = false;
        let mut constant = value("rotation", "r2_pooled_constant", 0, 0.25);
        constant.eval_seed = None;
        let cells = [
            probe("VICReg", 1, &[value("rotation", "r2_per_output", 0, 0.5)]),
            probe(
                "SIE(all, single each time)",
                0,
                &[value("rotation", "r2_per_output", 1, -0.125), constant],
            ),
            early,
            pretrain("Ours", 0, &[(1, 2.0)]),
        ];
        let expected = "\
            suite,table,dataset,task,method,metric,pretrain_seed,eval_seed,value,unit,better,cell\n\
            tiny,1,solids,rotation,\"SIE(all, single each time)\",r2_per_output,0,1,-0.125,R2,higher,probe-SIE(all, single each time)-0\n\
            tiny,1,solids,rotation,\"SIE(all, single each time)\",r2_pooled_constant,0,,0.25,R2,higher,probe-SIE(all, single each time)-0\n\
            tiny,1,solids,rotation,VICReg,r2_per_output,1,0,0.5,R2,higher,probe-VICReg-1\n";
        let expected =
            expected.replace("probe-SIE(all, single each time)-0", "\"probe-SIE(all, single each time)-0\"");
        assert_eq!(metrics(&cells).unwrap(), expected);
        assert_eq!(metrics(&[]).unwrap(), format!("{}\n", METRICS.join(",")));
    }
}
