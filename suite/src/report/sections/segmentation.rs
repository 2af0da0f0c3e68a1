//! Segmentation of other data sets by heads on the frozen encoders.

use super::section::Section;
use crate::registry::{Level, Measure, TaskFamily, shown_in};
use crate::report::column::{self, Column, MethodSample};
use crate::report::context::ReportContext;
use crate::report::table::{Layout, Note, Table};
use crate::report::values::{Quantity, Values};
use crate::suite_file::plan::Row;

/// Scores over all classes.
pub fn whole(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let columns = columns(values, context, |_| true);
    let headings = columns.iter().map(Column::heading).collect();
    let notes = notes(&columns).into_iter().chain(without_map_note(context)).collect();
    vec![section.table("method", headings, column::rows(&columns), notes)]
}

/// The headline of segmentation, one column per set.
pub fn headline_columns(values: &Values, context: &ReportContext) -> Vec<Column> {
    columns(values, context, |measure| measure.level == Level::Headline)
}

fn columns(values: &Values, context: &ReportContext, wanted: fn(&Measure) -> bool) -> Vec<Column> {
    let measures = || shown_in("segmentation").filter(|measure| wanted(measure));
    let of_set = |set: &String| {
        let column = |measure: &Measure| column(values, context, set, (set, measure.heading), measure.metric);
        measures().map(column).collect::<Vec<_>>()
    };
    context.segmentations.iter().flat_map(of_set).filter(Column::has_values).collect()
}

/// Scores of every class, one class per row, because there are many classes and few methods.
pub fn classes(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let of_set = |set: &String| {
        let table = |measure: &'static Measure| class_table(section, values, context, set, measure);
        shown_in(section.name).map(table).collect::<Vec<_>>()
    };
    context.segmentations.iter().flat_map(of_set).collect()
}

fn class_table(
    section: &Section,
    values: &Values,
    context: &ReportContext,
    set: &str,
    measure: &Measure,
) -> Table {
    let metrics = values.metrics_on(set, measure.family.name());
    let classes =
        metrics.into_iter().filter_map(|metric| Some((metric, metric.strip_prefix(measure.metric)?)));
    let columns: Vec<Column> =
        classes.map(|(metric, class)| column(values, context, set, (class, ""), metric)).collect();
    let name = |method: &MethodSample| format!("{}{}", method.method, method.role.suffix());
    let methods = columns.first().map(|column| column.samples.iter().map(name).collect());
    let rows = column::transposed_rows(&columns);
    Table {
        layout: Layout::MethodsInColumns,
        title: format!("{} of {set}, {} of every class", section.title, measure.heading),
        ..section.table("class", methods.unwrap_or_default(), rows, notes(&columns))
    }
}

fn column(
    values: &Values,
    context: &ReportContext,
    set: &str,
    (subject, heading): (&str, &str),
    metric: &str,
) -> Column {
    let quantity = Quantity::on(set, TaskFamily::Segmentation.name(), metric);
    let sample = |method: &str| values.sample(method, &quantity).cloned();
    Column::new(subject, heading, &context.methods, sample).without_ceiling()
}

fn notes(columns: &[Column]) -> Vec<Note> {
    let notes = [
        Some(column::reading_note(columns, Some("head seeds"))),
        column::single_note(columns),
        column::fixed_note(columns),
        column::missing_note(columns),
    ];
    notes.into_iter().flatten().collect()
}

/// Why rows without a network are not measured.
fn without_map_note(context: &ReportContext) -> Option<Note> {
    let has_none = |row: &&String| row.parse().is_ok_and(|Row { kind, .. }| !kind.has_network());
    let rows: Vec<&str> = context.methods.iter().filter(has_none).map(String::as_str).collect();
    let text = || format!("Without a token map, and so without segmentation: {}.", rows.join(", "));
    (!rows.is_empty()).then(|| Note::Plain(text()))
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{context, downstream};
    use crate::report::numbers::Numbers;
    use crate::report::table::{self, Mark};
    use crate::run_folder::cell::CellKind;
    use crate::run_folder::metric::Metric;

    fn texts(row: &table::Row) -> Vec<String> {
        row.entries.iter().map(|entry| entry.words(Numbers::default()).join(" ")).collect()
    }

    /// The best entry of each row is marked, because rows are classes. Head seeds are averaged within a
    /// pretraining seed.
    #[test]
    fn classes_are_rows_and_methods_columns() {
        let methods = ["Random init", "VICReg", "Ours", "Direct regression", "PCA of the pixels (16)"];
        let context = ReportContext { segmentations: vec!["ADE20K".to_owned()], ..context(&[], &methods) };
        let of = |method, number: f64| {
            let values = ["mIoU", "mAcc", "aAcc", "iou/wall", "iou/sky", "accuracy/sky"]
                .map(|metric| ("ADE20K", metric, number));
            downstream(CellKind::Segment, method, 0, &values)
        };
        let mut ours = of("Ours", 0.3);
        ours.metrics.push(Metric { eval_seed: Some(1), value: 0.5, ..ours.metrics[0].clone() });
        let values = Values::at_end(&[ours, of("VICReg", 0.2)]);
        let table = |name| {
            let section = section(name, Group::Segmentation);
            (section.tables)(section, &values, &context).remove(0)
        };
        let [segmentation, differences, classes] = ["segmentation", "differences", "classes"].map(table);
        assert_eq!(segmentation.columns, ["ADE20K mIoU", "ADE20K mAcc", "ADE20K aAcc"]);
        assert_eq!(texts(&segmentation.rows[2]), ["0.400", "0.300", "0.300"]);
        let said =
            Note::Plain("Without a token map, and so without segmentation: PCA of the pixels (16).".into());
        assert!(segmentation.notes.contains(&said), "{:?}", segmentation.notes);
        assert_eq!(differences.rows.len(), 1);
        assert_eq!(
            classes.columns,
            ["Random init (floor)", "VICReg", "Ours", "Direct regression", "PCA of the pixels (16)"]
        );
        let labels: Vec<&str> = classes.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["sky", "wall"]);
        assert_eq!(texts(&classes.rows[0]), ["-", "0.200", "0.300", "-", "-"]);
        assert_eq!(classes.rows[0].entries[2].mark(), Mark::None, "a single seed");
        assert_eq!(classes.contest(), "row");
        let three: Vec<_> = (0..3)
            .flat_map(|seed| {
                [("Ours", 0.3), ("VICReg", 0.2)].map(|(method, iou)| {
                    downstream(CellKind::Segment, method, seed, &[("ADE20K", "iou/sky", iou)])
                })
            })
            .collect();
        let section = section("classes", Group::Segmentation);
        let classes = (section.tables)(section, &Values::at_end(&three), &context).remove(0);
        assert_eq!(classes.rows[0].entries[2].mark(), Mark::Best);
    }
}
