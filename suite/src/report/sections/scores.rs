//! Tables of methods against tasks: the headlines, and R2 with other readouts, probes and pairs.

use std::collections::BTreeSet;

use eqr_probes::stats::small_sample_warning;

use super::section::Section;
use super::{convergence, probe_fit, shuffled};
use crate::registry::{Level, Measure, R2, R2Metric, TOP1, TaskFamily, r2_shown_in, shown_in};
use crate::report::column::{self, Column, NO_CEILING, ROOM};
use crate::report::context::ReportContext;
use crate::report::numbers::number;
use crate::report::table::{Note, Role, Row, Table, TableEntry};
use crate::report::values::{Quantity, Values};
use crate::suite_file::plan::method_name;

/// Name of the section that every report has.
pub const MAIN: &str = "main";

/// Number of seeds below which the main table warns.
const FEW: usize = 3;

/// The table of every task of the suite, including those without a value.
pub fn main(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let columns = measured_columns(values, context, |_| true);
    let mut notes = vec![
        column::reading_note(&columns, Some("probe seeds")),
        Note::Plain("A constant predictor reads 0 or less in a per-output R2.".to_owned()),
    ];
    notes.extend(labels_note(context));
    notes.extend(budget_note(context));
    notes.extend(few_seeds_note(&columns));
    notes.extend(column::fixed_note(&columns));
    notes.extend(column::missing_note(&columns));
    notes.extend(columns.iter().filter_map(no_ceiling_note));
    notes.extend(probe_fit::warnings(values, context));
    notes.extend(convergence::warnings(values, context));
    notes.extend(shuffled::warnings(values, context));
    notes.extend(shuffled::missing_note(values, context));
    notes.extend(undefined_notes(values, context));
    notes.extend(encoder_notes(values));
    if values.not_finite() > 0 {
        notes.push(Note::Warning(format!(
            "{} values are NaN or infinite and are left out.",
            values.not_finite()
        )));
    }
    vec![section.table(
        "method",
        columns.iter().map(Column::heading).collect(),
        column::rows(&columns),
        notes,
    )]
}

/// The table of the metric that the registry assigns to the section, for the transformations that have values
/// of it.
pub fn transformations(section: &Section, values: &Values, context: &ReportContext) -> Vec<Table> {
    let metric =
        r2_shown_in(section.name).expect("the registry gives a metric to every section of transformations");
    let tasks = context.tasks.iter().filter(|task| TaskFamily::of_task(task) == TaskFamily::Transformation);
    let columns = tasks.map(|task| column(values, context, task, R2.heading, &metric.to_string()));
    let columns: Vec<Column> = columns.filter(Column::has_values).collect();
    let mut rows = column::rows(&columns);
    rows.extend(match metric {
        R2Metric::POOLED => Some(reference_row(values, &columns, "Constant predictor", R2Metric::CONSTANT)),
        R2Metric::COMBINED => Some(reference_row(values, &columns, "The exact map", R2Metric::EXACT_MAP)),
        _ => None,
    });
    let mut notes = vec![column::reading_note(&columns, Some("probe seeds"))];
    if metric == R2Metric::COMBINED {
        notes.push(Note::Plain(
            "The exact map: R2 of the best guess by one who knows the pair's affine map exactly; crop and \
             translation together have more parameters than its offset has numbers."
                .to_owned(),
        ));
    }
    notes.extend(column::single_note(&columns));
    notes.extend(column::fixed_note(&columns));
    notes.extend(column::missing_note(&columns));
    notes.extend(columns.iter().filter_map(no_ceiling_note));
    vec![section.table("method", columns.iter().map(Column::heading).collect(), rows, notes)]
}

/// The headline of every task, one per column.
pub fn headline_columns(values: &Values, context: &ReportContext) -> Vec<Column> {
    measured_columns(values, context, |measure| measure.level == Level::Headline)
}

/// The requested measures of the main section, task by task.
fn measured_columns(values: &Values, context: &ReportContext, wanted: fn(&Measure) -> bool) -> Vec<Column> {
    let of_task = |task: &String| {
        let family = TaskFamily::of_task(task);
        let measures = shown_in(MAIN).filter(|measure| measure.family == family && wanted(measure));
        measures
            .map(|measure| column(values, context, task, measure.heading, measure.metric))
            .collect::<Vec<_>>()
    };
    context.tasks.iter().flat_map(of_task).collect()
}

fn column(values: &Values, context: &ReportContext, task: &str, heading: &str, metric: &str) -> Column {
    let quantity = Quantity::probed(task, metric);
    Column::new(task, heading, &context.methods, |method| values.sample(method, &quantity).cloned())
}

/// A row of values that depend only on the data, not on the encoder.
fn reference_row(values: &Values, columns: &[Column], label: &str, metric: R2Metric) -> Row {
    let entry = |column: &Column| {
        values.overall(&column.subject, &metric.to_string()).map_or(TableEntry::Missing, TableEntry::Share)
    };
    Row { label: label.to_owned(), role: Role::Reference, entries: columns.iter().map(entry).collect() }
}

/// What the encoders from files are and how they were read.
pub(super) fn encoder_notes(values: &Values) -> Vec<Note> {
    values.encoders().map(|(method, line)| Note::Plain(format!("{method}: {line}."))).collect()
}

/// Notes on the R2 values that are undefined rather than missing.
fn undefined_notes(values: &Values, context: &ReportContext) -> Vec<Note> {
    let metric = R2Metric::UNDEFINED_OUTPUTS.to_string();
    let of_task = |task: &String| {
        let methods = context.methods.iter().filter(|method| values.summary(method, task, &metric).is_some());
        let methods = methods.map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = || {
            format!(
                "R2 of {task} is undefined for {methods}: an output of the target does not vary on the test split."
            )
        };
        (!methods.is_empty()).then(|| Note::Warning(text()))
    };
    context.tasks.iter().filter_map(of_task).collect()
}

/// One note for all rows on why fewer than [`FEW`] seeds say little.
fn few_seeds_note(columns: &[Column]) -> Option<Note> {
    let sizes: BTreeSet<usize> =
        columns.iter().flat_map(Column::repeatable).map(|summary| summary.n).collect();
    let why: Vec<String> = sizes
        .into_iter()
        .take_while(|n| *n < FEW)
        .filter_map(|n| small_sample_warning(n, n, false))
        .collect();
    (!why.is_empty())
        .then(|| Note::Warning(format!("rows of fewer than {FEW} seeds say little ({}).", why.join("; "))))
}

fn labels_note(context: &ReportContext) -> Option<Note> {
    let has = |names: &[String], wanted: &str| names.iter().any(|name| name == wanted);
    let reads_labels = has(&context.methods, "Supervised") && has(&context.tasks, TOP1.family.name());
    reads_labels.then(|| {
        Note::Plain("Supervised is trained on the labels that the classification column asks for.".to_owned())
    })
}

fn budget_note(context: &ReportContext) -> Option<Note> {
    let twice = context.methods.iter().any(|row| method_name(row) != row);
    let text = "Rows that need the parameters or labels train on the known part of the data alone: over as \
                many epochs as the others, or, under `equal steps`, over more epochs for as many steps.";
    twice.then(|| Note::Plain(text.to_owned()))
}

fn no_ceiling_note(column: &Column) -> Option<Note> {
    let (floor, ceiling) = column.floor_and_ceiling()?;
    let is_r2 = TaskFamily::of_task(&column.subject) == TaskFamily::Transformation;
    (is_r2 && column.lacks_ceiling()).then(|| {
        Note::Warning(format!(
            "{}: {NO_CEILING}, {} is not {ROOM} above its floor {}.",
            column.subject,
            number(ceiling),
            number(floor)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::section;
    use super::super::section::Group;
    use super::*;
    use crate::report::fixture::{self, context, probe, value};
    use crate::report::numbers::Numbers;
    use crate::report::table::Mark;
    use crate::run_folder::cell::Cell;

    fn table(name: &str, cells: &[Cell], context: &ReportContext) -> Table {
        let section = section(name, Group::Training);
        (section.tables)(section, &Values::at_end(cells), context).remove(0)
    }

    fn warnings(table: &Table) -> Vec<&str> {
        let warnings = table.notes.iter().filter_map(|note| match note {
            Note::Warning(text) => Some(text.as_str()),
            Note::Plain(_) => None,
        });
        warnings.collect()
    }

    fn rotation(method: &str, values: &[f64]) -> Vec<Cell> {
        let cell = |(seed, r2): (usize, &f64)| {
            probe(method, seed as u64, &[value("rotation", "r2_per_output", 0, *r2)])
        };
        values.iter().enumerate().map(cell).collect()
    }

    fn mark_of(table: &Table, method: &str, column: usize) -> Mark {
        table.rows.iter().find(|row| row.label == method).unwrap().entries[column].mark()
    }

    #[test]
    fn a_column_without_room_has_no_ceiling() {
        let context = context(&["rotation"], &["Random init", "Ours", "Direct regression"]);
        let low =
            [rotation("Random init", &[0.1, 0.15, 0.2]), rotation("Direct regression", &[0.2, 0.225, 0.25])]
                .concat();
        let table_of = |cells: &[_]| table(MAIN, cells, &context);
        let table_low = table_of(&low);
        assert_eq!(
            warnings(&table_low),
            ["rotation: no ceiling at this budget, 0.225 is not 0.1 above its floor 0.150."]
        );
        let high =
            [rotation("Random init", &[0.1, 0.15, 0.2]), rotation("Direct regression", &[0.5, 0.55, 0.6])]
                .concat();
        assert!(warnings(&table_of(&high)).is_empty());
    }

    #[test]
    fn the_best_is_sought_among_contestants_and_marked_where_it_leads_clearly() {
        let context = context(&["rotation"], &["Random init", "Ours", "VICReg", "Direct regression"]);
        let clear = [
            rotation("Direct regression", &[0.9, 0.9, 0.91]),
            rotation("Ours", &[0.60, 0.61, 0.60]),
            rotation("VICReg", &[0.40, 0.41, 0.41]),
        ];
        let found = table(MAIN, &clear.concat(), &context);
        assert_eq!(mark_of(&found, "Ours", 0), Mark::Significant);
        assert_eq!(mark_of(&found, "Direct regression", 0), Mark::None);
        let vague = [rotation("Ours", &[0.60, 0.41, 0.50]), rotation("VICReg", &[0.40, 0.51, 0.41])].concat();
        assert_eq!(mark_of(&table(MAIN, &vague, &context), "Ours", 0), Mark::Best);
        let tie = [rotation("Ours", &[0.5, 0.25]), rotation("VICReg", &[0.25, 0.5])].concat();
        assert_eq!(mark_of(&table(MAIN, &tie, &context), "Ours", 0), Mark::None);
        let alone = rotation("Ours", &[0.6, 0.7]);
        assert_eq!(mark_of(&table(MAIN, &alone, &context), "Ours", 0), Mark::None);
    }

    /// p = 0.0364 alone is significant. With a second column that is not significant, Holm doubles it.
    #[test]
    fn marks_are_corrected_for_the_number_of_columns() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let cell = fixture::rotation_and_color;
        let cells = [
            cell("Ours", 0, 0.60, 0.5),
            cell("Ours", 1, 0.64, 0.4),
            cell("Ours", 2, 0.62, 0.6),
            cell("VICReg", 0, 0.50, 0.6),
            cell("VICReg", 1, 0.50, 0.4),
            cell("VICReg", 2, 0.55, 0.4),
        ];
        let both = table(MAIN, &cells, &context);
        assert_eq!(mark_of(&both, "Ours", 0), Mark::Best);
        let alone = ReportContext { tasks: vec!["rotation".to_owned()], ..context };
        assert_eq!(mark_of(&table(MAIN, &cells, &alone), "Ours", 0), Mark::Significant);
    }

    /// t(0.975, 2) + t(0.8, 2) = 4.303 + 1.061. The standard error of a difference between two means of two
    /// values is 1.
    #[test]
    fn few_seeds_are_warned_of_once() {
        let context = context(&["rotation"], &["Ours", "VICReg", "SimCLR", "Supervised"]);
        let cells = [
            rotation("Ours", &[0.6, 0.7]),
            rotation("VICReg", &[0.5, 0.4]),
            rotation("SimCLR", &[0.5]),
            rotation("Supervised", &[0.5, 0.4, 0.3]),
        ];
        let found = table(MAIN, &cells.concat(), &context);
        assert_eq!(
            warnings(&found),
            ["rows of fewer than 3 seeds say little (one seed: no standard deviation, no interval and no \
              test; 2 seeds: only differences above 5.4 standard deviations are found in four of five cases)."]
        );
    }

    #[test]
    fn a_fixed_encoder_is_not_blamed_for_its_one_training() {
        let context = context(&["rotation"], &["Ours", "DINO"]);
        let fixed = rotation("DINO", &[0.7]).into_iter().map(|cell| Cell { external: true, ..cell });
        let cells: Vec<Cell> = rotation("Ours", &[0.6, 0.7, 0.65]).into_iter().chain(fixed).collect();
        let found = table(MAIN, &cells, &context);
        assert!(warnings(&found).is_empty(), "{:?}", found.notes);
        assert_eq!(found.rows[1].entries[0].words(Numbers::default()), ["0.700"]);
        let note = "DINO: one training, made elsewhere; without a spread over seeds.";
        assert!(found.notes.contains(&Note::Plain(note.to_owned())), "{:?}", found.notes);
    }

    #[test]
    fn pooled_values_stand_beside_the_constant_predictors() {
        let context = context(&["classification", "rotation"], &["Ours"]);
        let mut constant = value("rotation", "r2_pooled_constant", 0, 0.23);
        constant.eval_seed = None;
        let cells = [probe("Ours", 0, &[value("rotation", "r2_pooled", 0, 0.4), constant])];
        let found = table("pooled", &cells, &context);
        assert_eq!(found.columns, ["rotation R2"]);
        assert!(table("grid", &cells, &context).columns.is_empty());
        assert_eq!(table(MAIN, &cells, &context).columns.len(), 2);
        assert_eq!(found.rows.last().unwrap().entries[0].words(Numbers::default()), ["0.230"]);
    }
}
