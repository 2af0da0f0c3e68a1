//! Tables of methods against tasks: the headline, other readouts, pooled R2.

use std::collections::BTreeSet;

use eqr_probes::stats::small_sample_warning;

use super::ReportContext;
use super::column::{self, Column};
use super::table::{Note, Role, Row, Section, Table, TableEntry, number};
use super::values::{Quantity, Values};
use crate::suite_file::plan::method_name;

/// A ceiling this close to the floor leaves no room for differences between methods.
const ROOM: f64 = 0.1;
/// Seeds below which the main table warns.
const FEW: usize = 3;

/// What is measured of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Accuracy of a linear classifier.
    Top1,
    /// R2 of a regression probe.
    R2,
}

impl Measure {
    /// The measure of a task by its name.
    pub fn of(task: &str) -> Measure {
        if task == "classification" { Measure::Top1 } else { Measure::R2 }
    }

    /// The metric that stands for the task where only one can.
    pub fn headline(self) -> &'static str {
        match self {
            Measure::Top1 => "top1",
            Measure::R2 => "r2_per_output",
        }
    }

    /// Name for a reader.
    pub fn label(self) -> &'static str {
        match self {
            Measure::Top1 => "top-1",
            Measure::R2 => "R2",
        }
    }
}

/// The table of `section`, one of main, grid, combined and pooled.
pub fn table(values: &Values, context: &ReportContext, section: Section) -> Table {
    let columns = columns(values, context, section);
    let mut rows = column::rows(&columns);
    rows.extend(match section {
        Section::Pooled => Some(reference_row(values, &columns, "Constant predictor", "r2_pooled_constant")),
        Section::Combined => {
            Some(reference_row(values, &columns, "The exact map", "r2_per_output_combined_exact"))
        }
        _ => None,
    });
    Table {
        section,
        title: title(section).to_owned(),
        stub: "method",
        columns: columns.iter().map(Column::heading).collect(),
        rows,
        notes: notes(section, context, &columns),
    }
}

/// The tasks that `section` shows, one a column.
pub fn columns(values: &Values, context: &ReportContext, section: Section) -> Vec<Column> {
    let tasks =
        context.tasks.iter().filter_map(|task| Some((task, Quantity::probed(task, &metric(section, task)?))));
    let column = |(task, quantity): (&String, Quantity)| {
        let sample = |method: &str| values.sample(method, &quantity).cloned();
        Column::new(task, Measure::of(task).label(), &context.methods, sample)
    };
    let mut columns: Vec<Column> = tasks.map(column).collect();
    // The main table names every task of the suite; the others, what the suite measures that way.
    columns.retain(|column| section == Section::Main || column.has_values());
    columns
}

fn title(section: Section) -> &'static str {
    match section {
        Section::Grid => "Readout `grid`: y and the 2x2 quadrant means of the token map, per-output R2",
        Section::Linear => "Linear probes of y (ridge regression in closed form), per-output R2",
        Section::Inv => "Invariant half of y, per-output R2",
        Section::Equi => "Equivariant half of y, per-output R2",
        Section::Canonical => "Quaternions with w >= 0, per-output R2",
        Section::Combined => "Pairs that differ by all transforms at once, per-output R2",
        Section::Pooled => "Pooled R2 beside the constant predictor's",
        _ => "Representation y: per-output R2 of a probe, top-1 of a linear classifier",
    }
}

/// Name of the metric that `section` shows of a task, if it shows the task at all.
fn metric(section: Section, task: &str) -> Option<String> {
    let measure = Measure::of(task);
    let of_r2 = |name: &str| (measure == Measure::R2).then(|| name.to_owned());
    match section {
        Section::Grid => Some(format!("{}_grid", measure.headline())),
        Section::Linear => of_r2("r2_per_output_linear"),
        Section::Inv => of_r2("r2_per_output_inv"),
        Section::Equi => of_r2("r2_per_output_equi"),
        Section::Canonical => of_r2("r2_per_output_canonical"),
        Section::Combined => of_r2("r2_per_output_combined"),
        Section::Pooled => of_r2("r2_pooled"),
        _ => Some(measure.headline().to_owned()),
    }
}

/// What the data alone says, whatever the encoder.
fn reference_row(values: &Values, columns: &[Column], label: &str, metric: &str) -> Row {
    let entry = |column: &Column| {
        values.overall(&column.subject, metric).map_or(TableEntry::Missing, TableEntry::Number)
    };
    Row { label: label.to_owned(), role: Role::Reference, entries: columns.iter().map(entry).collect() }
}

fn notes(section: Section, context: &ReportContext, columns: &[Column]) -> Vec<Note> {
    let mut notes = vec![column::reading_note(columns, Some("probe seeds"))];
    if section == Section::Main {
        notes.push(Note::Plain("A constant predictor reads 0 or less in a per-output R2.".to_owned()));
        notes.extend(labels_note(context));
        notes.extend(budget_note(context));
        notes.extend(few_seeds_note(columns));
    }
    if section == Section::Combined {
        notes.push(Note::Plain(
            "The exact map: R2 of the best guess by one who knows the pair's affine map exactly; crop and translation together have more \
             parameters than its offset has numbers."
                .to_owned(),
        ));
    }
    notes.extend(column::single_note(columns).filter(|_| section != Section::Main));
    notes.extend(column::missing_note(columns));
    notes.extend(columns.iter().filter_map(uninformative_note));
    notes
}

/// Why rows of fewer than [`FEW`] seeds say little, once for all of them.
fn few_seeds_note(columns: &[Column]) -> Option<Note> {
    let sizes: BTreeSet<usize> =
        columns.iter().flat_map(Column::summaries).map(|summary| summary.n).collect();
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
    let reads_labels = has(&context.methods, "Supervised") && has(&context.tasks, "classification");
    reads_labels.then(|| {
        Note::Plain("Supervised is trained on the labels that the classification column asks for.".to_owned())
    })
}

fn budget_note(context: &ReportContext) -> Option<Note> {
    let twice = context.methods.iter().any(|row| method_name(row) != row);
    let text = "Rows that need the parameters or labels train on the known part of the data alone: over as many epochs as the others, or, \
                under `equal steps`, over more epochs for as many steps.";
    twice.then(|| Note::Plain(text.to_owned()))
}

fn uninformative_note(column: &Column) -> Option<Note> {
    let (floor, ceiling) = column.mean_of(Role::Floor).zip(column.mean_of(Role::Ceiling))?;
    (Measure::of(&column.subject) == Measure::R2 && ceiling - floor < ROOM).then(|| {
        Note::Warning(format!(
            "{} is uninformative at this budget: its ceiling {} is not {ROOM} above its floor {}.",
            column.subject,
            number(ceiling),
            number(floor)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, probe, value};
    use super::super::table::Mark;
    use super::*;

    fn warnings(table: &Table) -> Vec<&str> {
        let warnings = table.notes.iter().filter_map(|note| match note {
            Note::Warning(text) => Some(text.as_str()),
            Note::Plain(_) => None,
        });
        warnings.collect()
    }

    fn rotation(method: &str, values: &[f64]) -> Vec<crate::run_folder::cell::Cell> {
        let cell = |(seed, r2): (usize, &f64)| {
            probe(method, seed as u64, &[value("rotation", "r2_per_output", 0, *r2)])
        };
        values.iter().enumerate().map(cell).collect()
    }

    fn mark_of(table: &Table, method: &str, column: usize) -> Mark {
        table.rows.iter().find(|row| row.label == method).unwrap().entries[column].mark()
    }

    #[test]
    fn a_column_without_room_is_called_uninformative() {
        let context = context(&["rotation"], &["Random init", "Ours", "Direct regression"]);
        let low =
            [rotation("Random init", &[0.1, 0.15, 0.2]), rotation("Direct regression", &[0.2, 0.225, 0.25])]
                .concat();
        let table_of = |cells: &[_]| table(&Values::of(cells), &context, Section::Main);
        let table_low = table_of(&low);
        assert_eq!(
            warnings(&table_low),
            ["rotation is uninformative at this budget: its ceiling 0.225 is not 0.1 above its floor 0.150."]
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
        let found = table(&Values::of(&clear.concat()), &context, Section::Main);
        assert_eq!(mark_of(&found, "Ours", 0), Mark::Significant);
        assert_eq!(mark_of(&found, "Direct regression", 0), Mark::None);
        let vague = [rotation("Ours", &[0.60, 0.41, 0.50]), rotation("VICReg", &[0.40, 0.51, 0.41])].concat();
        assert_eq!(mark_of(&table(&Values::of(&vague), &context, Section::Main), "Ours", 0), Mark::Best);
        let tie = [rotation("Ours", &[0.5, 0.25]), rotation("VICReg", &[0.25, 0.5])].concat();
        assert_eq!(mark_of(&table(&Values::of(&tie), &context, Section::Main), "Ours", 0), Mark::None);
        let alone = rotation("Ours", &[0.6, 0.7]);
        assert_eq!(mark_of(&table(&Values::of(&alone), &context, Section::Main), "Ours", 0), Mark::None);
    }

    /// p = 0.0364 alone is significant; with a second column that is not, Holm doubles it.
    #[test]
    fn marks_are_corrected_for_the_number_of_columns() {
        let context = context(&["rotation", "color"], &["Ours", "VICReg"]);
        let cell = |method, seed, rotation, color| {
            probe(
                method,
                seed,
                &[value("rotation", "r2_per_output", 0, rotation), value("color", "r2_per_output", 0, color)],
            )
        };
        let cells = [
            cell("Ours", 0, 0.60, 0.5),
            cell("Ours", 1, 0.64, 0.4),
            cell("Ours", 2, 0.62, 0.6),
            cell("VICReg", 0, 0.50, 0.6),
            cell("VICReg", 1, 0.50, 0.4),
            cell("VICReg", 2, 0.55, 0.4),
        ];
        let both = table(&Values::of(&cells), &context, Section::Main);
        assert_eq!(mark_of(&both, "Ours", 0), Mark::Best);
        let alone = ReportContext { tasks: vec!["rotation".to_owned()], ..context };
        assert_eq!(mark_of(&table(&Values::of(&cells), &alone, Section::Main), "Ours", 0), Mark::Significant);
    }

    /// t(0.975, 2) + t(0.8, 2) = 4.303 + 1.061, the standard error of a difference of two means of two being 1.
    #[test]
    fn few_seeds_are_warned_of_once() {
        let context = context(&["rotation"], &["Ours", "VICReg", "SimCLR", "Supervised"]);
        let cells = [
            rotation("Ours", &[0.6, 0.7]),
            rotation("VICReg", &[0.5, 0.4]),
            rotation("SimCLR", &[0.5]),
            rotation("Supervised", &[0.5, 0.4, 0.3]),
        ];
        let found = table(&Values::of(&cells.concat()), &context, Section::Main);
        assert_eq!(
            warnings(&found),
            [
                "rows of fewer than 3 seeds say little (one seed: no standard deviation, no interval and no test; 2 seeds: only \
              differences above 5.4 standard deviations are found in four of five cases)."
            ]
        );
    }

    #[test]
    fn pooled_values_stand_beside_the_constant_predictors() {
        let context = context(&["classification", "rotation"], &["Ours"]);
        let mut constant = value("rotation", "r2_pooled_constant", 0, 0.23);
        constant.eval_seed = None;
        let cells = [probe("Ours", 0, &[value("rotation", "r2_pooled", 0, 0.4), constant])];
        let found = table(&Values::of(&cells), &context, Section::Pooled);
        assert_eq!(found.columns, ["rotation R2"]);
        assert!(table(&Values::of(&cells), &context, Section::Grid).columns.is_empty());
        assert_eq!(table(&Values::of(&cells), &context, Section::Main).columns.len(), 2);
        assert_eq!(found.rows.last().unwrap().entries[0].parts(), ["0.230"]);
    }
}
