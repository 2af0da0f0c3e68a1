//! Other data sets read by the frozen encoders: linear transfer, nearest neighbours, segmentation.

use eqr_probes::knn::NEIGHBOURS;

use super::column::{self, Column, MethodSample};
use super::table::{Note, Role, Section, Table};
use super::values::{Quantity, Sample, Values};
use super::{ReportContext, differences};

/// Task of transfers.
pub const TRANSFER: &str = "linear transfer";
/// Task of segmentations.
pub const SEGMENTATION: &str = "segmentation";
/// Metrics of a segmentation, the headline first.
pub const SEGMENTED: [&str; 3] = ["mIoU", "mAcc", "aAcc"];
/// Before the class's name in a metric of one class.
const CLASS_IOU: &str = "iou/";
/// Before the metric's name where nearest neighbours take the place of the linear classifier.
const KNN: &str = "knn_";

/// Columns of linear transfer, one a set, and their mean.
pub fn transfer_columns(values: &Values, context: &ReportContext) -> Vec<Column> {
    of_sets(values, context, "")
}

/// Linear transfer, its differences, and nearest neighbours.
pub fn transfer_tables(values: &Values, context: &ReportContext) -> Vec<Table> {
    let linear = transfer_columns(values, context);
    let neighbours = of_sets(values, context, KNN);
    let by_neighbours = format!(
        "{NEIGHBOURS} nearest neighbours by cosine similarity, on the features of the linear transfer"
    );
    vec![
        table(
            Section::Transfer,
            "Linear transfer: logistic regression on frozen features, accuracy".to_owned(),
            &linear,
            None,
        ),
        differences::table("Differences between methods, linear transfer", &linear),
        table(Section::Neighbours, by_neighbours, &neighbours, None),
    ]
}

/// One column a set that any method has values of, and the mean of all sets, where there are several, of the methods that have them all.
fn of_sets(values: &Values, context: &ReportContext, prefix: &str) -> Vec<Column> {
    let column = |set: &super::TransferColumn| {
        let measure = if set.metric == "top1" { "top-1".to_owned() } else { set.metric.replace('_', " ") };
        let quantity = Quantity::on(&set.dataset, TRANSFER, &format!("{prefix}{}", set.metric));
        of_quantity(values, context, &set.dataset, &measure, &quantity)
    };
    let mut columns: Vec<Column> = context.transfers.iter().map(column).filter(Column::has_values).collect();
    if columns.len() > 1 {
        let of_all = |method: &str| {
            Sample::mean_of(&columns.iter().map(|column| column.sample(method)).collect::<Option<Vec<_>>>()?)
        };
        let mean =
            contestants(Column::new(&format!("mean of {}", columns.len()), "", &context.methods, of_all));
        columns.extend(Some(mean).filter(Column::has_values));
    }
    columns
}

/// Columns of the segmentations' headline metric, one a set.
pub fn segmentation_columns(values: &Values, context: &ReportContext) -> Vec<Column> {
    segmented(values, context, &SEGMENTED[..1])
}

/// Segmentation, its differences, and every set class by class.
pub fn segmentation_tables(values: &Values, context: &ReportContext) -> Vec<Table> {
    let title = "Segmentation: a head on frozen token maps".to_owned();
    let all = segmented(values, context, &SEGMENTED);
    let headline = segmentation_columns(values, context);
    let classes = context.segmentations.iter().map(|set| class_table(values, context, set));
    [
        table(Section::Segmentation, title, &all, Some(HEAD_SEEDS)),
        differences::table("Differences between methods, segmentation, mIoU", &headline),
    ]
    .into_iter()
    .chain(classes)
    .collect()
}

/// What a seed's value of a segmentation is the mean over.
const HEAD_SEEDS: &str = "head seeds";

fn segmented(values: &Values, context: &ReportContext, metrics: &[&str]) -> Vec<Column> {
    let of_set = |set: &String| {
        let column = |metric: &&str| {
            of_quantity(values, context, set, metric, &Quantity::on(set, SEGMENTATION, metric))
        };
        metrics.iter().map(column).collect::<Vec<_>>()
    };
    context.segmentations.iter().flat_map(of_set).filter(Column::has_values).collect()
}

/// IoU of every class, one a row: there are many classes and few methods.
fn class_table(values: &Values, context: &ReportContext, set: &str) -> Table {
    let metrics = values.metrics_on(set, SEGMENTATION);
    let classes = metrics.into_iter().filter_map(|metric| Some((metric, metric.strip_prefix(CLASS_IOU)?)));
    let column = |(metric, class): (&str, &str)| {
        of_quantity(values, context, class, "", &Quantity::on(set, SEGMENTATION, metric))
    };
    let columns: Vec<Column> = classes.map(column).collect();
    let name = |line: &MethodSample| format!("{}{}", line.method, line.role.suffix());
    let methods = columns.first().map(|column| column.lines.iter().map(name).collect());
    Table {
        stub: "class",
        columns: methods.unwrap_or_default(),
        rows: column::transposed_rows(&columns),
        ..table(
            Section::Classes,
            format!("Segmentation of {set}, IoU of every class"),
            &columns,
            Some(HEAD_SEEDS),
        )
    }
}

fn of_quantity(
    values: &Values,
    context: &ReportContext,
    subject: &str,
    measure: &str,
    quantity: &Quantity,
) -> Column {
    contestants(Column::new(subject, measure, &context.methods, |method| {
        values.sample(method, quantity).cloned()
    }))
}

/// The same column without a ceiling: what was trained to read transformations is none to the reading of classes.
fn contestants(mut column: Column) -> Column {
    for line in &mut column.lines {
        if line.role == Role::Ceiling {
            line.role = Role::Reference;
        }
    }
    column
}

fn table(section: Section, title: String, columns: &[Column], draws: Option<&str>) -> Table {
    let notes = [
        Some(column::reading_note(columns, draws)),
        column::single_note(columns),
        column::missing_note(columns),
    ];
    let mean = "The mean is of the methods that have every set, seed by seed.";
    let mean = columns
        .iter()
        .any(|column| column.subject.starts_with("mean of "))
        .then(|| Note::Plain(mean.to_owned()));
    Table {
        section,
        title,
        stub: "method",
        columns: columns.iter().map(Column::heading).collect(),
        rows: column::rows(columns),
        notes: notes.into_iter().chain([mean]).flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::TransferColumn;
    use super::super::fixture::{context, probe, value};
    use super::super::table::{Mark, Row};
    use super::*;
    use crate::run_folder::cell::{Cell, CellKind};
    use crate::run_folder::metric::Metric;

    fn cell(kind: CellKind, method: &str, seed: u64, values: &[(&str, &str, f64)]) -> Cell {
        let task = if kind == CellKind::Transfer { TRANSFER } else { SEGMENTATION };
        let metric = |(set, metric, number): &(&str, &str, f64)| Metric {
            dataset: (*set).to_owned(),
            ..value(task, metric, 0, *number)
        };
        Cell { kind, ..probe(method, seed, &values.iter().map(metric).collect::<Vec<_>>()) }
    }

    fn transfers(sets: &[(&str, &str)]) -> ReportContext {
        let column = |(dataset, metric): &(&str, &str)| TransferColumn {
            dataset: (*dataset).into(),
            metric: (*metric).into(),
        };
        let methods = ["Random init", "VICReg", "Ours", "Direct regression"];
        ReportContext { transfers: sets.iter().map(column).collect(), ..context(&[], &methods) }
    }

    fn gather(row: &Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.parts().join(" ")).collect()
    }

    /// VICReg lacks a set, so it has no mean; Ours leads by 0.2 on DTD in every seed but for rounding.
    #[test]
    fn transfer_sets_stand_side_by_side_with_their_mean() {
        let context = transfers(&[("DTD", "top1"), ("Pets", "mean_per_class"), ("Food101", "top1")]);
        let of = |method, seed, dtd, pets| {
            let values = [
                ("DTD", "top1", dtd),
                ("Pets", "mean_per_class", pets),
                ("DTD", "knn_top1", 0.25),
                ("DTD", "lambda", 9.0),
            ];
            cell(CellKind::Transfer, method, seed, &values)
        };
        let cells = [
            of("Ours", 0, 0.5, 0.7),
            of("Ours", 1, 0.6, 0.8),
            cell(CellKind::Transfer, "VICReg", 0, &[("DTD", "top1", 0.30)]),
            cell(CellKind::Transfer, "VICReg", 1, &[("DTD", "top1", 0.401)]),
            of("Direct regression", 0, 0.9, 0.9),
        ];
        let tables = transfer_tables(&Values::of(&cells), &context);
        let [linear, differences, neighbours] = &tables[..] else { panic!("{} tables", tables.len()) };
        assert_eq!(linear.columns, ["DTD top-1", "Pets mean per class", "mean of 2"]);
        assert_eq!(gather(&linear.rows[1])[1..], ["-", "-"]);
        assert!(gather(&linear.rows[2])[2].starts_with("0.650 ± 0.071"), "{:?}", gather(&linear.rows[2]));
        assert_eq!(linear.rows[2].entries[0].mark(), Mark::Significant);
        assert_eq!(
            (linear.rows[3].role, gather(&linear.rows[3])[0].as_str()),
            (Role::Reference, "0.900 (n = 1)")
        );
        let labels: Vec<&str> = differences.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["DTD: Ours - VICReg"]);
        assert_eq!(neighbours.columns, ["DTD top-1"]);
        assert!(gather(&neighbours.rows[2])[0].starts_with("0.250"));
    }

    /// Best of its row: the classes are rows. Head seeds are averaged within a pretraining seed.
    #[test]
    fn classes_are_rows_and_methods_columns() {
        let mut context = transfers(&[]);
        context.segmentations = vec!["ADE20K".to_owned()];
        let of = |method, number: f64| {
            let values = ["mIoU", "mAcc", "aAcc", "iou/wall", "iou/sky", "accuracy/sky"]
                .map(|metric| ("ADE20K", metric, number));
            cell(CellKind::Segment, method, 0, &values)
        };
        let mut ours = of("Ours", 0.3);
        ours.metrics.push(Metric { eval_seed: Some(1), value: 0.5, ..ours.metrics[0].clone() });
        let tables = segmentation_tables(&Values::of(&[ours, of("VICReg", 0.2)]), &context);
        let [segmentation, differences, classes] = &tables[..] else { panic!("{} tables", tables.len()) };
        assert_eq!(segmentation.columns, ["ADE20K mIoU", "ADE20K mAcc", "ADE20K aAcc"]);
        assert_eq!(gather(&segmentation.rows[2]), ["0.400", "0.300", "0.300"]);
        assert_eq!(differences.rows.len(), 1);
        assert_eq!(classes.columns, ["Random init (floor)", "VICReg", "Ours", "Direct regression"]);
        let labels: Vec<&str> = classes.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["sky", "wall"]);
        assert_eq!(gather(&classes.rows[0]), ["-", "0.200", "0.300", "-"]);
        assert_eq!(classes.rows[0].entries[2].mark(), Mark::Best);
        assert_eq!(classes.section.methods_in(), "row");
    }

    #[test]
    fn nothing_measured_is_no_table() {
        let context = transfers(&[("DTD", "top1")]);
        let values = Values::of(&[probe("Ours", 0, &[value("rotation", "r2_per_output", 0, 0.5)])]);
        let tables = [transfer_tables(&values, &context), segmentation_tables(&values, &context)].concat();
        assert!(tables.iter().all(|table| !table.has_values()));
    }
}
